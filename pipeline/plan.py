"""The plan: which image goes to which split and shard, decided by hashes of the keys.

The plan is a pure function of (sorted keys, seed, shard size), so that every run
with the same input writes the same shards, on any runner and with any number of
workers. Keys are shuffled here; pixels never are.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline import contract, resizing
from pipeline.sources import Listing, SplitListing, check_taken

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
class ShardPlan:
    """What one worker needs to write one shard.

    Attributes:
        name: File name of the shard.
        split: Its split.
        index: Its place in the split.
        keys: Of its images, in the order of the records.
        locations: `[num_images, k]` int64, where the source's reader finds each one.
        features: By name, `[num_images, ...]`.
        fingerprint: Hex sha256 of the settings and of everything above: a finished
            shard with the same fingerprint need not be written again.
    """

    name: str
    split: str
    index: int
    keys: tuple[str, ...]
    locations: np.ndarray
    features: Mapping[str, np.ndarray]
    fingerprint: str


def shard_plans(listing: Listing, settings: Settings) -> list[ShardPlan]:
    """Returns the plan of every shard, split by split.

    Raises:
        DatasetError: If the split needs more shards than a name can count.
    """
    return [
        plan
        for split in contract.SPLITS
        if split in listing.splits
        for plan in _split_plans(listing.name, split, listing.splits[split], settings)
    ]


def shuffled_order(keys: Sequence[str], seed: int) -> list[int]:
    """Returns the positions of `keys` in the order of their keyed hashes.

    Example:
        >>> shuffled_order(["a", "b", "c"], seed=0)
        [2, 1, 0]
    """
    hashes = _hashes(keys, seed)
    # The key itself decides between equal hashes.
    return sorted(range(len(keys)), key=lambda index: (hashes[index], keys[index]))


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
    places = [
        int.from_bytes(hashed, "little") / 2**64 for hashed in _hashes(keys, seed)
    ]
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
    name: str, split: str, images_of_split: SplitListing, settings: Settings
) -> list[ShardPlan]:
    keys = images_of_split.keys
    order = shuffled_order(keys, settings.seed)
    number = num_shards(len(keys), settings.shard_size)
    plans = []
    for index in range(number):
        start, stop = (len(keys) * edge // number for edge in (index, index + 1))
        chosen = order[start:stop]
        plans.append(
            _fingerprinted(
                ShardPlan(
                    name=contract.shard_name(name, split, index, number),
                    split=split,
                    index=index,
                    keys=tuple(keys[position] for position in chosen),
                    locations=images_of_split.locations[chosen],
                    features={
                        feature: values[chosen]
                        for feature, values in images_of_split.features.items()
                    },
                    fingerprint="",
                ),
                settings,
            )
        )
    return plans


def _fingerprinted(plan: ShardPlan, settings: Settings) -> ShardPlan:
    sha256 = hashlib.sha256()
    arrays = {"": plan.locations, **plan.features}
    header = {
        "schema_version": contract.SCHEMA_VERSION,
        "settings": settings.to_dict(),
        "name": plan.name,
        "keys": plan.keys,
        "arrays": [
            [name, array.dtype.str, array.shape] for name, array in arrays.items()
        ],
    }
    sha256.update(json.dumps(header, sort_keys=True).encode())
    for array in arrays.values():
        sha256.update(np.ascontiguousarray(array).tobytes())
    return dataclasses.replace(plan, fingerprint=sha256.hexdigest())


def _hashes(keys: Sequence[str], seed: int) -> list[bytes]:
    secret = seed.to_bytes(8, "little")
    return [
        hashlib.blake2b(key.encode(), digest_size=8, key=secret).digest()
        for key in keys
    ]


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
