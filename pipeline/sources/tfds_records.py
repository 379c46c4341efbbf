"""MNIST as TensorFlow Datasets prepared it: TFRecord files of PNG images.

    DIR/dataset_info.json
    DIR/mnist-train.tfrecord-00000-of-00001    its shards, of any number
    DIR/mnist-test.tfrecord-00000-of-00001

It shuffled the images when it wrote them, and their order in its files is their order
here. TensorFlow is not needed to read them.
"""

import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow_datasets.proto import tf_example_pb2

from pipeline import contract, images, records
from pipeline.sources import arrays

_SPLITS = ("train", "test")
_IMAGE_NAMES = ("image", "image/encoded")
# Around the data of a record.
_HEADER_BYTES, _FOOTER_BYTES = 12, 4


def load(root: pathlib.Path) -> dict[str, arrays.LabelledImages]:
    """Returns the images of each split.

    Args:
        root: The directory of a version, as `mnist/3.0.1`.

    Raises:
        DatasetError: If a shard is missing or damaged, or its records are not the
            grey PNG images and the labels of MNIST.
    """
    splits = {}
    for split in _SPLITS:
        examples = [
            example for path in find_shards(root, split) for example in read_shard(path)
        ]
        name = f"split {split!r} of --input={root}"
        splits[split] = arrays.labelled_images(
            np.array([pixels for pixels, _ in examples], np.uint8).reshape(
                len(examples), arrays.IMAGE_SIDE, arrays.IMAGE_SIDE
            ),
            np.array([label for _, label in examples], np.int64),
            name,
            name,
        )
    return splits


def find_shards(root: pathlib.Path, split: str) -> list[pathlib.Path]:
    """Returns the shards of a split, in order.

    Raises:
        DatasetError: If there is none, or one of them is missing.
    """
    paths = sorted(root.glob(f"*-{split}.tfrecord-*-of-*"))
    if not paths:
        raise contract.DatasetError(
            f"--input={root} has a dataset_info.json and no mnist-{split}.tfrecord-"
            "00000-of-00001: give the directory of a version that TensorFlow Datasets "
            "prepared with TFRecord files"
        )
    stem, number = re.sub(r"\d+-of-\d+$", "", paths[0].name), len(paths)
    expected = [f"{stem}{index:05d}-of-{number:05d}" for index in range(number)]
    if [path.name for path in paths] != expected:
        raise contract.DatasetError(
            f"--input={root} has {number} shards of split {split!r}, from "
            f"{paths[0].name} to {paths[-1].name}, which is not all of one data set: "
            "prepare it again with TensorFlow Datasets"
        )
    return paths


def read_shard(path: pathlib.Path) -> Iterator[tuple[np.ndarray, int]]:
    """Yields the pixels, `[28, 28]` uint8, and the label of each record of a shard.

    Raises:
        DatasetError: If a record is damaged, or is not one of MNIST.
    """
    try:
        for number, framed in enumerate(records.read_frames(path)):
            try:
                yield parse_record(framed[_HEADER_BYTES:-_FOOTER_BYTES])
            except contract.DatasetError as error:
                raise contract.DatasetError(f"record {number} {error}") from error
    except (OSError, contract.DatasetError) as error:
        raise contract.DatasetError(
            f"cannot read {path}: {error}; give another --input"
        ) from error


def parse_record(record: bytes) -> tuple[np.ndarray, int]:
    """Returns the pixels, `[28, 28]` uint8, and the label of a serialized `Example`.

    Raises:
        DatasetError: If it has no PNG image of one channel and that size, or no label.
    """
    try:
        feature = tf_example_pb2.Example.FromString(record).features.feature
    except DecodeError as error:
        raise contract.DatasetError(f"is no Example: {error}") from error
    encoded = next(
        (feature[n].bytes_list.value for n in _IMAGE_NAMES if n in feature), ()
    )
    labels = feature["label"].int64_list.value if "label" in feature else ()
    if len(encoded) != 1 or len(labels) != 1:
        raise contract.DatasetError(
            f"has the features {_described(feature)}: expected a PNG named "
            f"{' or '.join(_IMAGE_NAMES)}, and an integer named label"
        )
    try:
        pixels = images.decode_with_pillow(encoded[0], mode="L")
    except images.RejectedImageError as error:
        raise contract.DatasetError(f"has an image that is {error.detail}") from error
    if pixels.shape != (arrays.IMAGE_SIDE, arrays.IMAGE_SIDE):
        height, width = pixels.shape
        raise contract.DatasetError(
            f"has an image of {height} x {width} pixels: expected 28 x 28"
        )
    return pixels, labels[0]


def _described(feature: Mapping[str, Any]) -> str:
    return ", ".join(sorted(feature)) or "none"
