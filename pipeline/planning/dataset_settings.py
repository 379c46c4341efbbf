"""What decides the content of a dataset: its settings, and what each of them allows."""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any, Protocol

from pipeline import contract
from pipeline.images import resizing
from pipeline.sources import check_takes, find, layouts

# Chosen by the source.
_OF_SOURCE: Any = None


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides the content of a dataset, by flag name.

    Attributes:
        source: Name of the source module.
        image_size: Side of the square images in pixels; unless given, the source's.
        image_dtype: Storage type of the images.
        shard_size: Most images in a shard.
        seed: Of the order of the keys.
        resize: Name of the resize filter.
        crop_size: Side of the centre crop in pixels; 0 for the short side.
        split_fractions: Of the images, for train, validation and test; None where the
            source has splits.
        split_folders: Which folder is which split, as `layouts.parse` takes it; None
            for what their names say.
        deduplicate: Whether of the files of one content only the first is used.
        preprocess: Name of the user's function on the pixels; None for none.
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
    deduplicate: bool = False
    preprocess: str | None = None

    def __post_init__(self) -> None:
        """Checks every value against what is allowed."""
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
        if self.deduplicate:
            check_takes(self.source, "deduplicate")

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


def parse_folders(text: str | None) -> tuple[str, ...] | None:
    """Returns the pairs that --split_folders gives, sorted, if it is given.

    A comma divides pairs only before the name of a split, as folders have commas, too.

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
