"""Finds and parses the shards of TensorFlow Datasets: TFRecords of `Example` messages.

    DIR/celeb_a-train.tfrecord-00003-of-00016

This module imports only the `Example` message from TensorFlow Datasets, and nothing
from TensorFlow.
"""

import contextlib
import fnmatch
import re
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from pipeline import contract
from pipeline.process import wording
from pipeline.storage import paths


def find_shards(root: str, name: str, split: str) -> list[str]:
    """Returns the shards of a split, in order.

    Args:
        root: Directory of a version.
        name: Likely name of the data set, for error messages.
        split: TensorFlow Datasets' name of the split.

    Raises:
        DatasetError: If the split has no shard, or a shard is missing.
    """
    names = [entry.name for entry in paths.list_directory(root)]
    matches = sorted(fnmatch.filter(names, f"*-{split}.tfrecord-*-of-*"))
    if not matches:
        raise contract.DatasetError(
            f"input={root} has a dataset_info.json, but no {name}-{split}.tfrecord-"
            "00000-of-00001: give the directory of a version that TensorFlow Datasets "
            "prepared with TFRecord files"
        )
    stem, number = re.sub(r"\d+-of-\d+$", "", matches[0]), len(matches)
    expected = [f"{stem}{index:05d}-of-{number:05d}" for index in range(number)]
    if matches != expected:
        raise contract.DatasetError(
            f"input={root} has {wording.counted(number, 'shard')} of split "
            f"{split!r} ({' to '.join(sorted({matches[0], matches[-1]}))}) instead of "
            "all shards of one data set: prepare it again with TensorFlow Datasets"
        )
    return [paths.join(root, name) for name in matches]


def parse_example(record: bytes) -> Mapping[str, Any]:
    """Returns the features of a serialized `Example`, by name.

    Raises:
        DatasetError: If the record is not an `Example`.
    """
    # Imported lazily: the import takes as long as preparing a thousand images.
    from tensorflow_datasets.proto import tf_example_pb2

    try:
        return tf_example_pb2.Example.FromString(record).features.feature
    except DecodeError as error:
        raise contract.DatasetError(f"is not an Example: {error}") from error


@contextlib.contextmanager
def shard_named(path: str) -> Iterator[None]:
    """Adds the path of the shard to an error raised in the `with` block."""
    try:
        yield
    except (OSError, contract.DatasetError) as error:
        raise contract.DatasetError(
            f"cannot read {path}: {wording.cause(error)}; give another `input`"
        ) from error


@contextlib.contextmanager
def record_named(number: int) -> Iterator[None]:
    """Adds the number of the record to an error raised in the `with` block."""
    try:
        yield
    except contract.DatasetError as error:
        raise contract.DatasetError(f"record {number} {error}") from error
