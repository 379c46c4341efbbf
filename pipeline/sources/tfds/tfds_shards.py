"""The files that TensorFlow Datasets writes: TFRecords of `Example` messages.

    DIR/celeb_a-train.tfrecord-00003-of-00016

Neither it nor TensorFlow is imported, but for the message.
"""

import contextlib
import fnmatch
import re
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from pipeline import contract
from pipeline.storage import paths


def find_shards(root: str, name: str, split: str) -> list[str]:
    """Returns the shards of a split, in order.

    Args:
        root: The directory of a version.
        name: What a data set there may be called, for error messages.
        split: As TensorFlow Datasets names it.

    Raises:
        DatasetError: If there is none, or one of them is missing.
    """
    names = [entry.name for entry in paths.list_directory(root)]
    matches = sorted(fnmatch.filter(names, f"*-{split}.tfrecord-*-of-*"))
    if not matches:
        raise contract.DatasetError(
            f"--input={root} has a dataset_info.json and no {name}-{split}.tfrecord-"
            "00000-of-00001: give the directory of a version that TensorFlow Datasets "
            "prepared with TFRecord files"
        )
    stem, number = re.sub(r"\d+-of-\d+$", "", matches[0]), len(matches)
    expected = [f"{stem}{index:05d}-of-{number:05d}" for index in range(number)]
    if matches != expected:
        raise contract.DatasetError(
            f"--input={root} has {number} shards of split {split!r}, from "
            f"{matches[0]} to {matches[-1]}, which is not all of one data set: "
            "prepare it again with TensorFlow Datasets"
        )
    return [paths.join(root, name) for name in matches]


def parse_example(record: bytes) -> Mapping[str, Any]:
    """Returns the features of a serialized `Example`, by name.

    Raises:
        DatasetError: If it is none.
    """
    # It takes as long to import as a thousand images to make.
    from tensorflow_datasets.proto import tf_example_pb2

    try:
        return tf_example_pb2.Example.FromString(record).features.feature
    except DecodeError as error:
        raise contract.DatasetError(f"is no Example: {error}") from error


@contextlib.contextmanager
def shard_named(path: str) -> Iterator[None]:
    """Has an error say in which shard it was met."""
    try:
        yield
    except (OSError, contract.DatasetError) as error:
        raise contract.DatasetError(
            f"cannot read {path}: {error}; give another --input"
        ) from error


@contextlib.contextmanager
def record_named(number: int) -> Iterator[None]:
    """Has an error say in which record of a shard it was met."""
    try:
        yield
    except contract.DatasetError as error:
        raise contract.DatasetError(f"record {number} {error}") from error
