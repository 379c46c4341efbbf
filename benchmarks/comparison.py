"""Compares the outcomes of several systems on the same images."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
from tensorflow_datasets.proto import tf_example_pb2

from pipeline import contract
from pipeline.formats import records
from pipeline.images import squares

IMAGE_SIZE = 128


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of one run of a system.

    Attributes:
        failure: Reason why there is no dataset; empty after a success.
        peak_bytes: Peak memory in bytes.
        command_rate: Images per second of the whole command.
        graph_rate: Images per second by the system's own clock.
        num_bytes: Size of the TFRecord files in bytes.
        difference: Largest pixel difference from `pipeline.images.squares`, on the
            scale of [-1, 1].
    """

    failure: str
    peak_bytes: int
    command_rate: float = 0.0
    graph_rate: float = 0.0
    num_bytes: int = 0
    difference: float = 0.0


def check(output: str, files: str, image_dtype: str) -> tuple[int, float]:
    """Counts a dataset's records, and compares the first image of each shard.

    Args:
        output: Directory of TFRecord files, at any depth.
        files: Directory of the photographs by key.
        image_dtype: Storage type of the images.

    Returns:
        Number of records, and largest pixel difference on the scale of [-1, 1].
    """
    num_images, difference = 0, 0.0
    for path in shards(output):
        for number, framed in enumerate(records.read_frames(path)):
            num_images += 1
            if number == 0:
                found = _difference(records.unframed(framed), files, image_dtype)
                difference = max(difference, found)
    return num_images, difference


def rows(
    outcomes: Mapping[tuple[int, str, str], Outcome],
    num_images: int,
    image_dtype: str,
    around: tuple[float, float],
) -> Iterator[dict[str, str]]:
    """Yields a row per system for one number of images and one storage type.

    Args:
        outcomes: Outcomes by number of images, storage type and system.
        num_images: Number of images of the rows.
        image_dtype: Storage type of the rows.
        around: Images per second of decode, crop and resize alone, before and after.
    """
    limit = sum(around) / 2
    fewest = min(number for number, _, _ in outcomes)
    ours = outcomes.get((num_images, image_dtype, "ours"))
    for (number, dtype, system), outcome in outcomes.items():
        if (number, dtype) != (num_images, image_dtype):
            continue
        rate = outcome.command_rate
        smallest = outcomes[fewest, image_dtype, system]
        yield {
            "images": str(num_images),
            "stored as": image_dtype,
            "system": system,
            "Pillow limit img/s": f"{limit:.0f} ({around[0]:.0f}, {around[1]:.0f})",
            "command img/s": outcome.failure or f"{rate:.0f}",
            "graph img/s": f"{outcome.graph_rate:.0f}" if rate else "-",
            "of Pillow": f"{rate / limit:.2f}" if rate else "-",
            "ours is": f"{ours.command_rate / rate:.1f}x" if ours and rate else "-",
            "peak PSS MB": f"{outcome.peak_bytes / 1e6:.0f}",
            "growth": f"{outcome.peak_bytes / smallest.peak_bytes:.2f}",
            "GB written": f"{outcome.num_bytes / 1e9:.2f}" if rate else "-",
            "difference": f"{outcome.difference:.1e}" if rate else "-",
        }


def _difference(record: bytes, files: str, image_dtype: str) -> float:
    """Returns the largest pixel difference from `pipeline.images.squares`."""
    feature = tf_example_pb2.Example.FromString(record).features.feature
    [key] = feature["key"].bytes_list.value
    [image] = feature["image"].bytes_list.value
    expected = squares.preprocess(
        pathlib.Path(files, key.decode()).read_bytes(),
        image_size=IMAGE_SIZE,
        image_dtype=image_dtype,
        resize="bilinear",
        crop_size=0,
    ).astype(np.float64)
    found = np.frombuffer(image, image_dtype).reshape(expected.shape)
    scale, _ = contract.IMAGE_DTYPES[image_dtype]
    return scale * float(abs(found - expected).max())


def shards(output: str) -> list[pathlib.Path]:
    """Returns the TFRecord files in a directory and below."""
    return sorted(pathlib.Path(output).rglob("*.tfrecord-?????-of-?????"))
