"""Settings that decide the content of a dataset, and their allowed values."""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any, Protocol

from pipeline import contract
from pipeline.images import resizing
from pipeline.sources import check_takes, find, layouts

# Marks a setting whose default depends on the source.
_OF_SOURCE: Any = None


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings that decide the content of a dataset of images, by flag name.

    Attributes:
        source: Name of the source, a key of `pipeline.sources.SOURCES`.
        image_size: Side of the square images in pixels; the default depends on the
            source.
        image_dtype: Storage type of the images.
        shard_size: Largest number of images in a shard.
        seed: Seed of the hashes that order the keys and may decide their splits.
        resize: Name of the resize filter.
        crop_size: Side of the centre crop in pixels; 0 crops to the short side.
        split_fractions: Fractions of the images for train, validation and test; None
            keeps the source's own splits, or uses `splits.DEFAULT_FRACTIONS` if the
            source has none.
        validation_images: Number of leading training images that become the split
            validation; None lets the source choose.
        split_folders: Folder of each split, as pairs that `layouts.parse` reads; None
            detects the splits from the folder names.
        deduplicate: Whether to keep only the first of several files with equal content.
        preprocess: Name of the user's function on the pixels, or None.
    """

    source: str = "celeba"
    image_size: int = _OF_SOURCE
    image_dtype: str = "float16"
    shard_size: int = 1024
    seed: int = 0
    resize: str = "bilinear"
    crop_size: int = 0
    split_fractions: tuple[float, ...] | None = None
    split_folders: tuple[str, ...] | None = None
    validation_images: int | None = None
    deduplicate: bool = False
    preprocess: str | None = None

    def __post_init__(self) -> None:
        """Checks that every value is allowed."""
        if self.image_size is _OF_SOURCE:
            object.__setattr__(self, "image_size", find(self.source).image_size)
        _check_range("image_size", self.image_size, 1, 4096)
        _check_range("shard_size", self.shard_size, 1, 1_000_000)
        _check_range("seed", self.seed, 0, 2**63 - 1)
        _check_range("crop_size", self.crop_size, 0, 65_535)
        _check_choice("image_dtype", self.image_dtype, contract.IMAGE_DTYPES)
        _check_choice("resize", self.resize, resizing.RESIZES)
        if self.split_fractions is not None:
            _check_fractions(self.split_fractions)
            check_takes(self.source, "split_fractions")
        if self.split_folders is not None:
            layouts.parse(self.split_folders)
            check_takes(self.source, "split_folders")
        if self.validation_images is not None:
            check_takes(self.source, "validation_images")
            _check_range("validation_images", self.validation_images, 0, 1_000_000)
        if self.deduplicate:
            check_takes(self.source, "deduplicate")

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings for the manifest, which omits None and False."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
            if value is not None and value is not False
        }


class DatasetSettings(Protocol):
    """Settings that decide the content of a dataset of images or latents."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as the manifest holds them."""
        ...


def parse_fractions(text: str | None) -> tuple[float, ...] | None:
    """Returns the fractions in the text of `split_fractions`; None if it is unset.

    Raises:
        DatasetError: If a field is not a number; `Settings` checks the values.

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


def parse_folders(text: str | None) -> tuple[str, ...] | None:
    """Returns the sorted pairs in the text of `split_folders`; None if it is unset.

    A comma separates pairs only before the name of a split, because folder names may
    contain commas.

    Example:
        >>> parse_folders("train=Train, big,test=test1")
        ('test=test1', 'train=Train, big')
    """
    if text is None:
        return None
    return tuple(sorted(re.split(f",(?=(?:{'|'.join(contract.SPLITS)})=)", text)))


def _check_fractions(fractions: Sequence[float]) -> None:
    is_sound = (
        len(fractions) == len(contract.SPLITS)
        and all(fraction >= 0 for fraction in fractions)
        and math.isclose(sum(fractions), 1, abs_tol=1e-6)
    )
    if not is_sound:
        raise _wrong_fractions(",".join(f"{fraction:g}" for fraction in fractions))


def _wrong_fractions(text: str) -> contract.DatasetError:
    return contract.DatasetError(
        f"split_fractions={text} must be fractions for "
        f"{', '.join(contract.SPLITS)}, each from 0 to 1 and with the sum 1, such as "
        "0.8,0.1,0.1"
    )


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or not low <= value <= high
    ):
        raise contract.DatasetError(f"{name}={value} must be from {low} to {high}")


def _check_choice(name: str, value: str, allowed: Any) -> None:
    if value not in allowed:
        raise contract.DatasetError(
            f"{name}={value} must be one of {', '.join(allowed)}"
        )
