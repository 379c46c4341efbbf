"""Plans shards: the hash of an image's key decides its shard and its position there.

Shard and position are a pure function of (keys of a split, seed, shard size). Every run
with the same input therefore writes the same shards, on any runner and with any number
of workers. The plan shuffles keys; no step of the pipeline shuffles pixels.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator

import numpy as np

from pipeline import contract
from pipeline.planning.dataset_settings import Settings
from pipeline.sources import Listing
from pipeline.sources.image_table import ImageTable, Partitions, concatenate
from pipeline.sources.splits import hash_keys

# A shard's file name has five digits for its number.
MAX_SHARDS = 99_999


@dataclasses.dataclass(frozen=True)
class PlannedShard:
    """A planned shard, without the table of its images.

    Attributes:
        name: File name of the shard.
        split: Split of the shard.
        index: Number of the shard in its split, from 0.
        num_images: Number of images to read for the shard.
        fingerprint: Hex sha256 of the settings, the name and the rows. A rerun keeps
            a finished shard that has the same fingerprint.
    """

    name: str
    split: str
    index: int
    num_images: int
    fingerprint: str


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """The plan of one shard: everything that a worker needs to write it.

    Attributes:
        shard: The shard to write.
        images: Images of the shard, in the order of its records.
    """

    shard: PlannedShard
    images: ImageTable


def shard_plans(listing: Listing, settings: Settings) -> Iterator[ShardPlan]:
    """Returns the plan of every shard, split by split.

    The images of a split are sorted by the seeded hashes of their keys, and then cut
    into shards. `Partitions` divides the images by the highest bits of these hashes and
    sorts one partition at a time. Memory therefore holds a few hundred thousand rows,
    however many images the source has.

    Raises:
        DatasetError: If a split needs more than `MAX_SHARDS` shards, or two of its
            images have the same key.
    """
    partitions: dict[str, Partitions] = {}
    for split, images in listing.parts:
        hashes = hash_keys(images.keys, settings.seed).astype(np.uint64)
        partitions.setdefault(split, Partitions()).add(hashes, images)
    numbers = {
        split: num_shards(images.num_rows, settings.shard_size)
        for split, images in partitions.items()
    }
    # With `yield`, the checks above would wait until the first plan is taken.
    return (
        plan
        for split in contract.SPLITS
        if split in partitions
        for plan in _split_plans(
            listing.name, split, partitions[split], numbers[split], settings
        )
    )


def num_shards(num_images: int, shard_size: int) -> int:
    """Returns the number of shards for `num_images`: a power of two where possible.

    The number is the smallest power of two that suffices for all images, because the
    trainer can deal a power of two evenly to its lanes. It is never more than
    `num_images`, so no shard is empty.

    Raises:
        DatasetError: If the number is more than `MAX_SHARDS`.

    Example:
        >>> num_shards(162_770, 1024), num_shards(1, 1024), num_shards(3, 1)
        (256, 1, 3)
    """
    needed = -(-num_images // shard_size)
    number = min(1 << (needed - 1).bit_length(), num_images)
    if number > MAX_SHARDS:
        raise contract.DatasetError(
            f"shard_size={shard_size} divides {num_images} images into {number} "
            f"shards, but at most {MAX_SHARDS} are allowed: raise `shard_size`"
        )
    return number


def _split_plans(
    name: str, split: str, partitions: Partitions, number: int, settings: Settings
) -> Iterator[ShardPlan]:
    """Yields the plans of a split's shards; their sizes differ by at most one image."""
    index, start, pending = 0, 0, list[ImageTable]()
    for images in _without_equal_keys(partitions):
        first = 0
        while first < len(images):
            stop = partitions.num_rows * (index + 1) // number
            part = images.part(first, first + stop - start)
            pending.append(part)
            first, start = first + len(part), start + len(part)
            if start == stop:
                shard_name = contract.shard_name(name, split, index, number)
                yield _plan(shard_name, split, index, concatenate(pending), settings)
                index, pending = index + 1, []


def _without_equal_keys(partitions: Partitions) -> Iterator[ImageTable]:
    """Yields all rows in the order of their hashes, and checks for equal keys."""
    for hashes, images in partitions:
        for place in np.flatnonzero(hashes[1:] == hashes[:-1]).tolist():
            if images.keys[place] == images.keys[place + 1]:
                raise contract.DatasetError(
                    f"two images have the key {images.keys[place]}: rename or remove "
                    "one of them"
                )
        yield images


def _plan(
    name: str, split: str, index: int, images: ImageTable, settings: Settings
) -> ShardPlan:
    sha256 = hashlib.sha256()
    arrays = {"": images.locations, **images.features}
    header = {
        "schema_version": contract.SCHEMA_VERSION,
        "settings": settings.to_dict(),
        "name": name,
        "keys": images.keys,
        "arrays": [
            [name, array.dtype.str, array.shape] for name, array in arrays.items()
        ],
    }
    sha256.update(json.dumps(header, sort_keys=True).encode())
    for array in arrays.values():
        sha256.update(np.ascontiguousarray(array).tobytes())
    shard = PlannedShard(name, split, index, len(images), sha256.hexdigest())
    return ShardPlan(shard, images)
