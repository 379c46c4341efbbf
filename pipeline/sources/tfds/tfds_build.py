"""Has TensorFlow Datasets download and prepare a data set, as `tfds build` does."""

import importlib.resources
import os
import sys

from absl import logging

from pipeline import contract
from pipeline.process import wording
from pipeline.sources.tfds import tfds_names

# Words in the errors of downloads that a server refused for a while.
_QUOTA_WORDS = (
    *("quota", "too many users", "too many requests"),
    *("code: 403", "code: 429", "429 client error", "403 client error"),
)


def prepare(name: tfds_names.Name, data_dir: str) -> None:
    """Downloads and prepares a data set.

    Args:
        name: Name of the data set.
        data_dir: Directory of prepared data sets.

    Raises:
        DatasetError: If the library has no such data set, or cannot prepare it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # The builder of celeb_a imports a backport of this module, which may be missing.
    sys.modules.setdefault("importlib_resources", importlib.resources)
    import tensorflow_datasets as tfds

    logging.info("preparing %s with TensorFlow Datasets in %s", name, data_dir)
    try:
        builder = tfds.builder(str(name), data_dir=data_dir, file_format="tfrecord")
        builder.download_and_prepare()
    # Builders, and the library's downloads, raise errors of any class.
    except Exception as error:
        raise contract.DatasetError(
            f"input={name} cannot be prepared: {_explained(error, name, data_dir)}"
        ) from error


def _explained(error: Exception, name: tfds_names.Name, data_dir: str) -> str:
    """Returns one line with the cause and the remedy."""
    kind, text = type(error).__name__, f"{wording.cause(error):.400}"
    downloads = os.path.join(data_dir, "downloads")
    if kind == "DatasetNotFoundError":
        return (
            f"TensorFlow Datasets has no data set {name.name}: give a name of its "
            "catalogue, or the path of a prepared data set"
        )
    if kind == "NonMatchingChecksumError":
        return (
            f"a downloaded file has another checksum than the data set's ({text}). "
            "Google Drive sends a page in place of the file while its download quota "
            f"is spent: remove {downloads}, and make the same call again tomorrow; or "
            "the file has changed since this release of TensorFlow Datasets: install a "
            "newer one"
        )
    if any(word in text.lower() for word in _QUOTA_WORDS):
        return (
            f"the server refuses the download for now, perhaps because its quota is "
            f"spent ({text}): make the same call again later, or tomorrow"
        )
    if "manual" in text.lower():
        return f"its files must be downloaded by hand to {downloads}/manual ({text})"
    if isinstance(error, ImportError):
        return f"its builder needs another package ({text}): install it with pip"
    if isinstance(error, OSError):
        return (
            f"a file cannot be downloaded or written ({text}): check the network and "
            "the disk, and make the same call again"
        )
    return f"{kind}: {text}"
