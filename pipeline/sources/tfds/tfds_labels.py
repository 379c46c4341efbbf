"""Finds the labels of a data set that TensorFlow Datasets prepared.

    DIR/NAME.labels.txt       class names of the ClassLabel NAME, one a line

Labels are integers in a record: a class, and CelebA's `attributes` and `landmarks`.
Attributes and landmarks are dictionaries of scalars, which a record stores under names
such as `attributes/Bald`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline import contract
from pipeline.formats.tfds_files import FEATURES_NAME, LABELS_SUFFIX
from pipeline.process import wording
from pipeline.sources.celeba.attributes import LANDMARK_NAMES
from pipeline.storage import paths


@dataclasses.dataclass(frozen=True)
class Label:
    """A feature of our dataset that consists of integers in a record.

    Attributes:
        feature: Type, shape and names of our feature.
        scalars: Name of each element in the record.
        low: Least allowed value of an element.
        high: Greatest allowed value of an element.
    """

    feature: contract.Feature
    scalars: tuple[str, ...]
    low: int = -(2**31)
    high: int = 2**31 - 1

    @property
    def dtype(self) -> np.dtype:
        """The smallest integer type that holds every allowed value."""
        return np.promote_types(
            np.min_scalar_type(self.low), np.min_scalar_type(self.high)
        )


def find(root: str, features: Mapping[str, Any]) -> dict[str, Label]:
    """Returns the labels of a record, by the name of our feature.

    Args:
        root: Directory of a prepared data set.
        features: Features of a record by name, from `features.json`.

    Raises:
        DatasetError: If the class names cannot be read, or their number is wrong.
        KeyError, TypeError, ValueError: If the description of a feature is malformed.
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
            # TensorFlow Datasets stores -1 for an image without a label.
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
    """Returns the names of the classes; an empty tuple if classes have only numbers."""
    path = paths.join(root, f"{feature}{LABELS_SUFFIX}")
    try:
        lines = paths.read_bytes(path).decode().split("\n")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise contract.DatasetError(
            f"cannot read {path}: {wording.cause(error)}"
        ) from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != number:
        raise contract.DatasetError(
            f"{path} names {len(names)} classes, but {FEATURES_NAME} says {number}: "
            "prepare the data set again"
        )
    return names


def _scalars(feature: Mapping[str, Any], dtype: str) -> list[str]:
    """Returns the names in a dictionary of scalars, none for any other feature."""
    members = feature.get("featuresDict", {}).get("features", {})
    tensors = [member.get("tensor", {}) for member in members.values()]
    is_sound = all(
        tensor.get("dtype") == dtype and not tensor.get("shape") for tensor in tensors
    )
    return list(members) if is_sound else []


def kind(feature: Mapping[str, Any]) -> str:
    """Returns the Python class name of a feature, such as `ClassLabel`."""
    return feature["pythonClassName"].rpartition(".")[2]
