"""The plan: which image goes to which split and shard, decided by hashes of the keys.

The plan is a pure function of (set of keys, seed, shard size), so that every run
with the same input writes the same shards, on any runner and with any number of
workers. Keys are shuffled here; pixels never are.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from pipeline import contract, resizing
from pipeline.rows import Partitions, Rows, concatenate
from pipeline.sources import Listing, check_taken

# Five digits in a shard's file name.
MAX_SHARDS = 99_999


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides the content of a dataset, by flag name.

    Attributes:
        source: Name of the source module.
        image_size: Side of the square images in pixels.
        image_dtype: Storage type of the images.
        shard_size: Most images in a shard.
        seed: Of the order of the keys.
        resize: Name of the resize filter.
        crop_size: Side of the centre crop in pixels; 0 for the short side.
        split_fractions: Of the images, for train, validation and test; None where the
            source has splits.
        deduplicate: Whether of the files of one content only the first is used.
        preprocess: Name of the user's function on the pixels; None for none.
    """

    source: str = "celeba"
    image_size: int = 128
    image_dtype: str = "float16"
    shard_size: int = 1024
    seed: int = 0
    resize: str = "bilinear"
    crop_size: int = 0
    split_fractions: tuple[float, ...] | None = None
    deduplicate: bool = False
    preprocess: str | None = None

    def __post_init__(self) -> None:
        """Checks every value against what is allowed."""
        _check_range("image_size", self.image_size, 1, 4096)
        _check_range("shard_size", self.shard_size, 1, 1_000_000)
        _check_range("seed", self.seed, 0, 2**63 - 1)
        _check_range("crop_size", self.crop_size, 0, 65_535)
        _check_choice("image_dtype", self.image_dtype, contract.IMAGE_DTYPES)
        _check_choice("resize", self.resize, resizing.RESIZES)
        if self.split_fractions is not None:
            _check_fractions(self.split_fractions)
            check_taken(self.source, "split_fractions")
        if self.deduplicate:
            check_taken(self.source, "deduplicate")

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as the manifest holds them, without those not made."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
            if value is not None and value is not False
        }


class DatasetSettings(Protocol):
    """What decides the content of a dataset, of images or of latents."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as the manifest holds them."""
        ...


def parse_fractions(text: str | None) -> tuple[float, ...] | None:
    """Returns the numbers that --split_fractions gives, if it is given.

    Raises:
        DatasetError: If it has anything else; `Settings` checks the numbers.

    Example:
        >>> parse_fractions("0.9,0,0.1")
        (0.9, 0.0, 0.1)
    """
    if text is None:
        return None
    try:
        return tuple(float(field) for field in text.split(","))
    except ValueError as error:
        raise _wrong_fractions(text) from error


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
        rows: Its images, in the order of the records.
    """

    shard: PlannedShard
    rows: Rows


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
    for split, rows in listing.parts:
        hashes = _hashes(rows.keys, settings.seed).astype(np.uint64)
        partitions.setdefault(split, Partitions()).add(hashes, rows)
    numbers = {
        split: num_shards(rows.num_rows, settings.shard_size)
        for split, rows in partitions.items()
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


def hashed_splits(
    keys: Sequence[str], fractions: Sequence[float], seed: int
) -> list[str]:
    """Returns the split of each key, which does not depend on the other keys.

    Args:
        keys: Of images.
        fractions: That each of `contract.SPLITS` should have; together 1.
        seed: Of the hashes.

    Example:
        >>> hashed_splits(["a", "b", "c"], [0.5, 0.0, 0.5], seed=0)
        ['train', 'test', 'test']
    """
    # By rounding they may sum to less than 1: the last one gets the rest.
    asked = [
        (split, fraction)
        for split, fraction in zip(contract.SPLITS, fractions, strict=True)
        if fraction
    ]
    edges = np.cumsum([fraction for _, fraction in asked])[:-1]
    # The last byte weighs most here, and the first in the order of a split.
    places = _hashes(keys, seed).view("<u8") / 2**64
    chosen = np.searchsorted(edges, places, side="right")
    return [asked[position][0] for position in chosen]


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
    index, start, pending = 0, 0, list[Rows]()
    for rows in _without_equal_keys(partitions):
        first = 0
        while first < len(rows):
            stop = partitions.num_rows * (index + 1) // number
            part = rows.part(first, first + stop - start)
            pending.append(part)
            first, start = first + len(part), start + len(part)
            if start == stop:
                shard_name = contract.shard_name(name, split, index, number)
                yield _plan(shard_name, split, index, concatenate(pending), settings)
                index, pending = index + 1, []


def _without_equal_keys(partitions: Partitions) -> Iterator[Rows]:
    """Yields all rows in the order of their hashes, and checks their keys."""
    for hashes, rows in partitions:
        for place in np.flatnonzero(hashes[1:] == hashes[:-1]).tolist():
            if rows.keys[place] == rows.keys[place + 1]:
                raise contract.DatasetError(
                    f"two images have the key {rows.keys[place]}: rename or remove "
                    "one of them"
                )
        yield rows


def _plan(
    name: str, split: str, index: int, rows: Rows, settings: Settings
) -> ShardPlan:
    sha256 = hashlib.sha256()
    arrays = {"": rows.locations, **rows.features}
    header = {
        "schema_version": contract.SCHEMA_VERSION,
        "settings": settings.to_dict(),
        "name": name,
        "keys": rows.keys,
        "arrays": [
            [name, array.dtype.str, array.shape] for name, array in arrays.items()
        ],
    }
    sha256.update(json.dumps(header, sort_keys=True).encode())
    for array in arrays.values():
        sha256.update(np.ascontiguousarray(array).tobytes())
    shard = PlannedShard(name, split, index, len(rows), sha256.hexdigest())
    return ShardPlan(shard, rows)


def _hashes(keys: Sequence[str], seed: int) -> np.ndarray:
    """Returns the keyed hashes of keys: `[len(keys)]`, eight bytes each."""
    secret = seed.to_bytes(8, "little")
    blake2b = hashlib.blake2b
    digests = [
        blake2b(key.encode(), digest_size=8, key=secret).digest() for key in keys
    ]
    return np.frombuffer(b"".join(digests), ">u8")


def _check_fractions(fractions: Sequence[float]) -> None:
    is_sound = (
        len(fractions) == len(contract.SPLITS)
        and all(0 <= fraction <= 1 for fraction in fractions)
        and math.isclose(sum(fractions), 1, abs_tol=1e-6)
    )
    if not is_sound:
        raise _wrong_fractions(",".join(f"{fraction:g}" for fraction in fractions))


def _wrong_fractions(text: str) -> contract.DatasetError:
    return contract.DatasetError(
        f"--split_fractions={text} must be the parts of {', '.join(contract.SPLITS)}, "
        "from 0 to 1 and together 1, as in 0.8,0.1,0.1"
    )


def _check_range(flag: str, value: int, low: int, high: int) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or not low <= value <= high
    ):
        raise contract.DatasetError(f"--{flag}={value} must be from {low} to {high}")


def _check_choice(flag: str, value: str, allowed: Any) -> None:
    if value not in allowed:
        raise contract.DatasetError(
            f"--{flag}={value} must be one of {', '.join(allowed)}"
        )
