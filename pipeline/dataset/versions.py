"""Versions of the libraries that decide the values and bytes of a dataset."""

import importlib.metadata
import platform
from collections.abc import Mapping

from PIL import features as pillow_features

from pipeline import contract


def find(features: Mapping[str, contract.Feature]) -> dict[str, str]:
    """Returns the versions of the libraries that decide values and bytes, by name."""
    versions = {"python": platform.python_version()}
    names = ["apache-beam", "numpy", "pillow", "protobuf", "tensorflow-datasets"]
    if "image" not in features:
        names.append("tensorflow")
    for name in names:
        versions[name] = importlib.metadata.version(name)
    versions["libjpeg"] = str(pillow_features.version("jpg"))
    return versions
