"""The plan: which image goes to which split and shard, decided by hashes of the keys.

The plan is a pure function of (set of keys, seed, shard size), so that every run
with the same input writes the same shards, on any runner and with any number of
workers. Keys are shuffled here; pixels never are.
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

# Five digits in a shard's file name.
MAX_SHARDS = 99_999


@dataclasses.dataclass(frozen=True)
class PlannedShard:
    """What is known of a planned shard without its images.

    Attributes:
        name: File name.
        split: Its split.
        index: Its place in the split.
        num_images: To be read.
        fingerprint: Hex sha256 of the settings, the name and the rows: a finished
            shard with the same fingerprint need not be written again.
    """

    name: str
    split: str
    index: int
    num_images: int
    fingerprint: str


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """What one worker needs to write one shard.

    Attributes:
        shard: What is written.
        images: Its images, in the order of the records.
    """

    shard: PlannedShard
    images: ImageTable


def shard_plans(listing: Listing, settings: Settings) -> Iterator[ShardPlan]:
    """Returns the plan of every shard, split by split.

    The images of a split are in the order of the keyed hashes of their keys, and are
    cut there into shards. They are dealt to partitions by those hashes' highest bits,
    and one partition after another is sorted: memory holds some hundred thousand
    images, however many there are.

    Raises:
        DatasetError: If a split needs more shards than a name can count, or two of
            its images have one key.
    """
    partitions: dict[str, Partitions] = {}
    for split, images in listing.parts:
        hashes = hash_keys(images.keys, settings.seed).astype(np.uint64)
        partitions.setdefault(split, Partitions()).add(hashes, images)
    numbers = {
        split: num_shards(images.num_rows, settings.shard_size)
        for split, images in partitions.items()
    }
    # What is wrong is said before the first plan is asked for.
    return (
        plan
        for split in contract.SPLITS
        if split in partitions
        for plan in _split_plans(
            listing.name, split, partitions[split], numbers[split], settings
        )
    )


def num_shards(num_images: int, shard_size: int) -> int:
    """Returns the smallest power of two of shards that hold `num_images`.

    A power of two can be dealt evenly to the lanes of the trainer. No shard is
    empty: there are never more shards than images.

    Raises:
        DatasetError: If that is more than `MAX_SHARDS`.

    Example:
        >>> num_shards(162_770, 1024), num_shards(1, 1024), num_shards(3, 1)
        (256, 1, 3)
    """
    needed = -(-num_images // shard_size)
    number = min(1 << max(needed - 1, 0).bit_length(), num_images)
    if number > MAX_SHARDS:
        raise contract.DatasetError(
            f"{num_images} images in shards of {shard_size} are {number} shards, and "
            f"at most {MAX_SHARDS} are allowed: raise --shard_size"
        )
    return number


def _split_plans(
    name: str, split: str, partitions: Partitions, number: int, settings: Settings
) -> Iterator[ShardPlan]:
    """Yields the plans of a split, cut where its rows, in order, are equally many."""
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
    """Yields all rows in the order of their hashes, and checks their keys."""
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
