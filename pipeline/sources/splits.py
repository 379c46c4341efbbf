"""Assigns images to splits, by names or by hashes of the keys."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from pipeline import contract
from pipeline.sources.image_table import ImageTable

# Fractions for `contract.SPLITS`, if a source has no splits of its own.
DEFAULT_FRACTIONS = (0.8, 0.1, 0.1)

SPLIT_OF_NAME: Mapping[str, str] = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
}


def divided(
    images: ImageTable, split_of: Sequence[str]
) -> Iterator[tuple[str, ImageTable]]:
    """Yields each split that has images, with its images.

    Args:
        images: Images of any splits.
        split_of: Split of each row.
    """
    splits = np.array(split_of)
    for split in contract.SPLITS:
        places = np.flatnonzero(splits == split)
        if len(places):
            yield split, images.take(places)


def count_images(
    parts: Iterable[tuple[str, ImageTable]], fractions: Sequence[float] | None
) -> str:
    """Returns the number of images in each split, as text.

    Args:
        parts: Splits with some or all of their images, as in `Listing.parts`.
        fractions: Fractions for `contract.SPLITS` that divided the images; None if the
            source has its own splits.

    Raises:
        DatasetError: If a split with a nonzero fraction has no image.
    """
    counts = Counter[str]()
    for split, images in parts:
        counts[split] += len(images)
    for split, fraction in zip(contract.SPLITS, fractions or (), strict=False):
        if fraction and not counts[split]:
            raise contract.DatasetError(
                f"none of the {counts.total()} images falls in split {split!r}, which "
                f"should have a fraction of {fraction:g}: add images, or give other "
                "`split_fractions` (train,validation,test; 1,0,0 for train alone)"
            )
    return ", ".join(
        f"{split} {counts[split]}" for split in contract.SPLITS if counts[split]
    )


def hashed_splits(
    keys: Sequence[str], fractions: Sequence[float], seed: int
) -> list[str]:
    """Returns the split of each key, which does not depend on the other keys.

    Args:
        keys: Keys of the images.
        fractions: Fractions of the images for `contract.SPLITS`, with sum 1.
        seed: Seed of the hashes.

    Example:
        >>> hashed_splits(["a", "b", "c"], [0.5, 0.0, 0.5], seed=0)
        ['train', 'test', 'test']
    """
    # Rounding may make the sum less than 1, so the last split gets the rest.
    nonempty = [
        (split, fraction)
        for split, fraction in zip(contract.SPLITS, fractions, strict=True)
        if fraction
    ]
    edges = np.cumsum([fraction for _, fraction in nonempty])[:-1]
    # Reverse the bytes, because the same hash also decides the order within a split.
    places = hash_keys(keys, seed).view("<u8") / 2**64
    chosen = np.searchsorted(edges, places, side="right")
    return [nonempty[position][0] for position in chosen]


def hash_keys(keys: Sequence[str], seed: int) -> np.ndarray:
    """Returns the seeded hash of each key: `[len(keys)]` big-endian uint64."""
    secret = seed.to_bytes(8, "little")
    blake2b = hashlib.blake2b
    digests = [
        blake2b(key.encode(), digest_size=8, key=secret).digest() for key in keys
    ]
    return np.frombuffer(b"".join(digests), ">u8")
