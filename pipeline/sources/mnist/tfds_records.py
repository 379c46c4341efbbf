"""Reads MNIST as TensorFlow Datasets prepared it: TFRecord files of PNG images.

    DIR/dataset_info.json
    DIR/mnist-train.tfrecord-00000-of-00001    shards, any number of them
    DIR/mnist-test.tfrecord-00000-of-00001

TensorFlow Datasets shuffles the images when it writes them. This module keeps the order
of the files, and reads them without TensorFlow.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pipeline import contract
from pipeline.formats import records
from pipeline.images import squares
from pipeline.sources.mnist import arrays
from pipeline.sources.tfds import tfds_shards

_SPLITS = ("train", "test")
_IMAGE_NAMES = ("image", "image/encoded")


def load(root: str) -> dict[str, arrays.LabelledImages]:
    """Returns the images and labels of each split.

    Args:
        root: Directory of a version, such as `mnist/3.0.1`.

    Raises:
        DatasetError: If a shard is missing or damaged, or its records are not the
            grey PNG images and the labels of MNIST.
    """
    splits = {}
    for split in _SPLITS:
        examples = [
            example
            for path in tfds_shards.find_shards(root, "mnist", split)
            for example in read_shard(path)
        ]
        name = f"split {split!r} of input={root}"
        splits[split] = arrays.labelled_images(
            np.array([pixels for pixels, _ in examples], np.uint8).reshape(
                len(examples), arrays.IMAGE_SIDE, arrays.IMAGE_SIDE
            ),
            np.array([label for _, label in examples], np.int64),
            name,
            name,
        )
    return splits


def read_shard(path: str) -> Iterator[tuple[np.ndarray, int]]:
    """Yields the pixels, `[28, 28]` uint8, and the label of each record of a shard.

    Raises:
        DatasetError: If a record is damaged, or does not have MNIST's features.
    """
    with tfds_shards.shard_named(path):
        for number, framed in enumerate(records.read_frames(path)):
            with tfds_shards.record_named(number):
                yield parse_record(records.unframed(framed))


def parse_record(record: bytes) -> tuple[np.ndarray, int]:
    """Returns the pixels, `[28, 28]` uint8, and the label of a serialized `Example`.

    Raises:
        DatasetError: If the record has no grey PNG image of 28 x 28 pixels, or no
            label.
    """
    feature = tfds_shards.parse_example(record)
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
        pixels = squares.decode_with_pillow(encoded[0], mode="L")
    except squares.RejectedImageError as error:
        raise contract.DatasetError(
            f"has an image that cannot be used ({error.reason}: {error.detail})"
        ) from error
    if pixels.shape != (arrays.IMAGE_SIDE, arrays.IMAGE_SIDE):
        height, width = pixels.shape
        raise contract.DatasetError(
            f"has an image of {height} x {width} pixels: expected 28 x 28"
        )
    return pixels, labels[0]


def _described(feature: Mapping[str, Any]) -> str:
    return ", ".join(sorted(feature)) or "none"
