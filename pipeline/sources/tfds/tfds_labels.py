"""Labels of what TensorFlow Datasets prepared: integers that a record has.

    DIR/NAME.labels.txt       the classes of the ClassLabel NAME, one a line

They are a class; and of CelebA `attributes` and `landmarks`, each a dictionary of
scalars, which a record has as `attributes/Bald`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline import contract
from pipeline.formats.tfds_files import FEATURES_NAME, LABELS_SUFFIX
from pipeline.sources.celeba.attributes import LANDMARK_NAMES
from pipeline.storage import paths


@dataclasses.dataclass(frozen=True)
class Label:
    """A feature of ours, of integers that a record has.

    Attributes:
        feature: Its type, shape and names.
        scalars: The names in the record, one for each element.
        low: Least value of an element.
        high: Greatest value of an element.
    """

    feature: contract.Feature
    scalars: tuple[str, ...]
    low: int = -(2**31)
    high: int = 2**31 - 1

    @property
    def dtype(self) -> np.dtype:
        """The smallest type that has room for an element."""
        return np.promote_types(
            np.min_scalar_type(self.low), np.min_scalar_type(self.high)
        )


def find(root: str, features: Mapping[str, Any]) -> dict[str, Label]:
    """Returns the labels of a record, by the name that the feature gets.

    Args:
        root: Directory of a prepared dataset.
        features: Features of a record by name, from `features.json`.

    Raises:
        DatasetError: If the names of the classes cannot be read, or are too few.
        KeyError, TypeError, ValueError: If a feature is not as it should be.
    """
    labels = {}
    classes = [n for n, feature in features.items() if kind(feature) == "ClassLabel"]
    chosen = classes[0] if len(classes) == 1 else "label"
    if chosen in classes:
        number = int(features[chosen]["classLabel"]["numClasses"])
        if not 0 < number < 2**31:
            raise ValueError(f"{chosen} has {number} classes")
        labels["label"] = Label(
            contract.Feature("int64", (), _class_names(root, chosen, number)),
            (chosen,),
            # TensorFlow Datasets has -1 where an image has no label.
            low=-1,
            high=number - 1,
        )
    attributes = sorted(_scalars(features.get("attributes", {}), "bool"))
    if attributes:
        labels["attributes"] = Label(
            contract.Feature("int64", (len(attributes),), tuple(attributes)),
            tuple(f"attributes/{name}" for name in attributes),
            low=0,
            high=1,
        )
    landmarks = sorted(_scalars(features.get("landmarks", {}), "int64"))
    if landmarks:
        if landmarks == sorted(LANDMARK_NAMES):
            landmarks = LANDMARK_NAMES
        labels["landmarks"] = Label(
            contract.Feature("int64", (len(landmarks),), tuple(landmarks)),
            tuple(f"landmarks/{name}" for name in landmarks),
        )
    return labels


def _class_names(root: str, feature: str, number: int) -> tuple[str, ...]:
    """Returns the names of the classes; none if they have only numbers."""
    path = paths.join(root, f"{feature}{LABELS_SUFFIX}")
    try:
        lines = paths.read_bytes(path).decode().split("\n")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise contract.DatasetError(f"cannot read {path}: {error}") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != number:
        raise contract.DatasetError(
            f"{path} names {len(names)} classes, and {FEATURES_NAME} says {number}: "
            "prepare the data set again"
        )
    return names


def _scalars(feature: Mapping[str, Any], dtype: str) -> list[str]:
    """Returns the names in a dictionary of scalars, none if it is anything else."""
    members = feature.get("featuresDict", {}).get("features", {})
    tensors = [member.get("tensor", {}) for member in members.values()]
    is_sound = all(
        tensor.get("dtype") == dtype and not tensor.get("shape") for tensor in tensors
    )
    return list(members) if is_sound else []


def kind(feature: Mapping[str, Any]) -> str:
    """Returns the class of a feature, such as `ClassLabel`."""
    return feature["pythonClassName"].rpartition(".")[2]
