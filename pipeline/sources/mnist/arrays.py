"""Images and labels as arrays: the common form of every distribution of MNIST."""

import dataclasses
import gzip
from typing import IO

import numpy as np

from pipeline import contract

IMAGE_SIDE = 28

_SHAPES = ((IMAGE_SIDE, IMAGE_SIDE), (IMAGE_SIDE, IMAGE_SIDE, 1), (IMAGE_SIDE**2,))
_MAX_LABEL = 255
# Largest array in bytes: all of EMNIST, the largest such dataset, takes 0.6 GB.
_MAX_BYTES = 2**31
_BLOCK_BYTES = 2**20


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """The images and labels of a split, in the order of the source.

    Attributes:
        pixels: `[num_images, 28, 28, 1]` uint8.
        labels: `[num_images]` int64, from 0 to 255.
    """

    pixels: np.ndarray
    labels: np.ndarray


def read_whole(file: IO[bytes] | gzip.GzipFile) -> bytes:
    """Returns the content of a compressed file, of at most 2 GiB.

    The limit protects memory: a small file can unpack to any size.

    Raises:
        ValueError: If the content has more than 2 GiB.
    """
    data = bytearray()
    while block := file.read(_BLOCK_BYTES):
        data += block
        if len(data) > _MAX_BYTES:
            raise ValueError(f"it unpacks to more than {_MAX_BYTES:,} B")
    return bytes(data)


def labelled_images(
    pixels: np.ndarray, labels: np.ndarray, pixels_name: str, labels_name: str
) -> LabelledImages:
    """Returns checked images and labels in the common form.

    Args:
        pixels: `[num_images, 28, 28]`, `[num_images, 28, 28, 1]` or
            `[num_images, 784]`: uint8, or floats in [0, 1].
        labels: `[num_images]` integers from 0 to 255.
        pixels_name: Name of the pixels' file or array, for error messages.
        labels_name: Name of the labels' file or array, for error messages.

    Raises:
        DatasetError: If a shape, type or value is not allowed, the numbers of images
            and labels differ, or there are no images.

    Example:
        >>> ones = labelled_images(np.ones([2, 784]), np.array([7, 9]), "x", "y")
        >>> ones.pixels.shape, ones.pixels.max().item(), ones.labels.tolist()
        ((2, 28, 28, 1), 255, [7, 9])
    """
    if pixels.shape[1:] not in _SHAPES:
        raise contract.DatasetError(
            f"{pixels_name} has the shape {list(pixels.shape)}: images must be "
            "[n, 28, 28], [n, 28, 28, 1] or [n, 784]; give another `input`"
        )
    if labels.ndim != 1:
        raise contract.DatasetError(
            f"{labels_name} has the shape {list(labels.shape)}: labels must be [n]; "
            "give another `input`"
        )
    if len(pixels) != len(labels):
        raise contract.DatasetError(
            f"{pixels_name} has {len(pixels)} images, but {labels_name} has "
            f"{len(labels)} labels: they belong to different data sets; give another "
            "`input`"
        )
    if not len(pixels):
        raise contract.DatasetError(f"{pixels_name} has no image: give another `input`")
    square = (len(pixels), IMAGE_SIDE, IMAGE_SIDE, 1)
    return LabelledImages(
        pixels=_as_uint8(pixels, pixels_name).reshape(square),
        labels=_as_int64(labels, labels_name),
    )


def _as_uint8(pixels: np.ndarray, name: str) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind != "f":
        raise contract.DatasetError(
            f"{name} is of type {pixels.dtype}: pixels must be uint8, or floats in "
            "[0, 1]; give another `input`"
        )
    # Negated, because both comparisons are false for NaN.
    if not ((pixels >= 0) & (pixels <= 1)).all():
        raise contract.DatasetError(
            f"{name} has values from {pixels.min():g} to {pixels.max():g}: pixels must "
            "be uint8, or floats in [0, 1]; give another `input`"
        )
    return np.rint(pixels * 255).astype(np.uint8)


def _as_int64(labels: np.ndarray, name: str) -> np.ndarray:
    if labels.dtype.kind not in "iu":
        raise contract.DatasetError(
            f"{name} is of type {labels.dtype}: labels must be integers; give another "
            "`input`"
        )
    if labels.min() < 0 or labels.max() > _MAX_LABEL:
        raise contract.DatasetError(
            f"{name} has values from {labels.min()} to {labels.max()}: labels must be "
            f"from 0 to {_MAX_LABEL}; give another `input`"
        )
    return labels.astype(np.int64)
