"""Decodes any image file as upright RGB pixels, as a viewer shows it on white paper.

EXIF orientation        applied
several frames, pages   only the first is read
transparency            laid over white
palette, grey, 1 bit    converted to their colours
16-bit, 12-bit grey     converted to 8 bits, rounded
CMYK                    Pillow's conversion; colour profiles are not applied
32-bit, floats, Lab     rejected: nothing says which values are black and white
`rare_forms`            rejected: Pillow shows them wrong
"""

import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

from pipeline.images import rare_forms, squares

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")

_CONVERTIBLE_MODES = ("RGB", "RGBX", "L", "1", "P", "CMYK", "YCbCr")
# Colours, by simplejpeg's names, that it converts to the same RGB pixels as Pillow.
_JPEG_COLOURS = ("YCbCr", "RGB", "Gray")
# EXIF's numbers of all orientations but upright.
_TURNED = range(2, 9)
# Every JPEG or PNG whose metadata give an orientation has one of these marks.
_ORIENTATION_MARKS = (
    *(b"Exif", b"eXIf", b"Raw profile type exif"),
    *(b"tiff:Orientation", b"XML:com.adobe.xmp"),
)
_QUIETLY = threading.Lock()


def decode_as_rgb(data: bytes) -> np.ndarray:
    """Returns the pixels of an image in any of `FORMATS`.

    simplejpeg decodes a sound JPEG that is grey or has three colours.

    Args:
        data: Content of an image file. The file's name does not matter.

    Returns:
        `[height, width, 3]` uint8.

    Raises:
        RejectedImageError: If the file is damaged, is no image in `FORMATS`, has more
            pixels than `contract.MAX_IMAGE_PIXELS`, or cannot be converted.
    """
    with squares.damage_rejected(data, FORMATS):
        return _quietly(_decode, data)


def decode_as_grey(data: bytes) -> np.ndarray:
    """Returns the pixels of an 8-bit grey image, upright.

    Args:
        data: Content of an image file in any of `squares.FORMATS`.

    Returns:
        `[height, width, 1]` uint8.

    Raises:
        RejectedImageError: As for `decode_as_rgb`, or if the image is not 8-bit grey.
    """
    pixels = squares.decode_sound_jpeg(data, ("Gray",), "GRAY")
    if pixels is None:
        pixels = squares.decode_with_pillow(data, mode="L")[..., np.newaxis]
    return _turned(pixels, _quietly(_orientation, data))


def _quietly(function: Callable[[bytes], Any], data: bytes) -> Any:
    """Returns a function's result for a file, even if Pillow warns about the file."""
    squares.raise_warnings()
    try:
        return function(data)
    except Warning:
        # The warning is about odd metadata in a sound image, or about a size that
        # `open_sized` refuses. Only this retry ignores warnings: a filter applies to
        # the whole process, and outside the retry warnings must stay errors.
        with _QUIETLY, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(data)


def _decode(data: bytes) -> np.ndarray:
    pixels = squares.decode_sound_jpeg(data, _JPEG_COLOURS)
    if pixels is not None:
        return _turned(pixels, _orientation(data))
    image = squares.open_sized(data, FORMATS)
    grey_range = rare_forms.grey_range(image)
    rare_forms.scale_transparency(image)
    return _as_rgb(_upright(squares.load_sound(image, data)), grey_range)


def _turned(pixels: np.ndarray, orientation: object) -> np.ndarray:
    """Turns `[height, width, channels]` upright, for 1 or 3 channels."""
    if orientation not in _TURNED:
        return pixels
    image = Image.fromarray(pixels.squeeze(axis=2) if pixels.shape[2] == 1 else pixels)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    return upright.reshape(*upright.shape[:2], -1)


def _orientation(data: bytes) -> object:
    """Returns the EXIF orientation in the metadata; 1 if they give none."""
    if not any(mark in data for mark in _ORIENTATION_MARKS):
        return 1
    try:
        image = squares.open_sized(data, FORMATS)
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Warning:
        raise
    except squares.DECODE_ERRORS:
        # Damaged metadata give no orientation.
        return 1


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Warning:
        raise
    except squares.DECODE_ERRORS:
        return image


def _as_rgb(image: Image.Image, grey_range: tuple[int, int]) -> np.ndarray:
    """Returns `[height, width, 3]` uint8."""
    if image.mode.startswith("I"):
        return _grey_of_16_bits(image, *grey_range)
    if image.has_transparency_data:
        transparent = image.convert("RGBA")
        paper = Image.new("RGB", image.size, "white")
        paper.paste(transparent, mask=transparent)
        return np.asarray(paper)
    if image.mode not in _CONVERTIBLE_MODES:
        detail = f"{image.mode} cannot be converted to RGB"
        raise squares.RejectedImageError("mode", detail)
    return np.asarray(image.convert("RGB"))


def _grey_of_16_bits(image: Image.Image, black: int, white: int) -> np.ndarray:
    values = np.asarray(image)
    span = abs(white - black)
    if values.min() < 0 or values.max() > span:
        found = f"{image.mode} with values from {values.min()} to {values.max()}"
        raise squares.RejectedImageError("mode", f"{found} instead of 0 to {span}")
    levels = values.astype(np.uint32) if white else span - values.astype(np.uint32)
    grey = ((levels * 255 + span // 2) // span).astype(np.uint8)
    if "transparency" in image.info:
        grey[values == image.info["transparency"]] = 255
    return np.repeat(grey[..., None], 3, axis=2)
