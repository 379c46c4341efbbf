"""Turns an image file, or its pixels, into a square image in [-1, 1].

`legacy_bilinear` scales, cuts the central square and resizes, in this order and in
floating point, as TensorFlow 1 did. Pillow's filters work on 8-bit pixels, so for them
the scaling comes last, through a table of 256 values. Scaling and filtering commute up
to the rounding of a pixel.
"""

import contextlib
import io
import re
import struct
import warnings
import zlib
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from pipeline import contract
from pipeline.images import (
    file_types,
    jpeg_damage,
    rare_forms,
    resizing,
    user_function,
)

# Every reason to reject an image. A reason depends only on the image and the settings.
REASONS = (
    "missing",  # The source lists the image, but its file does not exist.
    "name",  # The file's name is not UTF-8, or has control characters.
    "checksum",  # The file's bytes do not match the checksum in the archive.
    "unreadable",  # The file is not an image, or is damaged.
    "truncated",  # The file ends before the image does.
    "oversized",  # The image exceeds a limit of `contract`: a decompression bomb.
    "mode",  # The image is not 8-bit RGB, or cannot be converted to it.
    "too_small",  # The image is smaller than the crop.
)

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")

# Pillow's names of a JPEG, and of a JPEG that other images follow.
_JPEG_FORMATS = ("JPEG", "MPO")

# Errors that Pillow raises on damaged input. The input is in memory, so an OSError
# never comes from the disk.
DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
    Warning,
)

# The filter that `warnings.filterwarnings("error", module=...)` adds.
_PILLOW_WARNINGS = ("error", None, Warning, re.compile(r"PIL\."), 0)


class RejectedImageError(Exception):
    """An image that cannot be used: one of `REASONS`, and a detail in words."""

    def __init__(self, reason: str, detail: str) -> None:
        """Keeps the reason and the detail as separate attributes."""
        assert reason in REASONS, reason
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def preprocess(
    image: bytes | np.ndarray,
    *,
    image_size: int,
    image_dtype: str,
    resize: str,
    crop_size: int,
    function: str | None = None,
) -> np.ndarray:
    """Returns an image as a record stores it.

    Args:
        image: Content of an RGB image file, or `[height, width, channels]` uint8.
        image_size: Height and width of the result in pixels.
        image_dtype: Storage type, one of `contract.IMAGE_DTYPES`.
        resize: One of `resizing.RESIZES`.
        crop_size: Side in pixels of the square cut from the centre before the
            resize; 0 for the short side of the image.
        function: Name of the user's function, called on the pixels before the crop;
            see `user_function`.

    Returns:
        `[image_size, image_size, channels]` in [-1, 1]. For uint8 the values are in
        0..255, with the scale and offset of `contract.IMAGE_DTYPES`.

    Raises:
        RejectedImageError: If the image cannot be used.
        DatasetError: If the user's function cannot be used.
    """
    pixels = decode(image) if isinstance(image, bytes) else image
    if function is not None:
        pixels = user_function.call(function, pixels)
    square = centre_crop(pixels, crop_size)
    if resize == resizing.LEGACY_BILINEAR:
        scaled = resizing.resize_legacy_bilinear(_SCALED["float32"][square], image_size)
        if image_dtype != "uint8":
            return scaled.astype(image_dtype)
        return np.rint((scaled + 1.0) * 127.5).clip(0, 255).astype(np.uint8)
    return resizing.resize_and_map(square, image_size, resize, _SCALED[image_dtype])


def decode(data: bytes) -> np.ndarray:
    """Returns the pixels of an RGB image.

    simplejpeg decodes a sound JPEG. Pillow decodes or refuses every other file.

    Args:
        data: Content of an image file.

    Returns:
        `[height, width, 3]` uint8.

    Raises:
        RejectedImageError: If the file is damaged, is not an RGB image, or has more
            pixels than `contract.MAX_IMAGE_PIXELS`.
    """
    pixels = decode_sound_jpeg(data)
    return decode_with_pillow(data) if pixels is None else pixels


def decode_sound_jpeg(
    data: bytes, colours: Collection[str] = ("YCbCr", "RGB"), output: str = "RGB"
) -> np.ndarray | None:
    """Returns the pixels of a sound JPEG, or None for any other file.

    simplejpeg calls the same library as Pillow, and gives the same pixels in half the
    time.

    Args:
        data: Content of a file.
        colours: Colours that the file may have, by simplejpeg's names.
        output: Colours of the result, by simplejpeg's name.

    Returns:
        `[height, width, 3]` uint8, or `[height, width, 1]` for the output `GRAY`.
    """
    try:
        height, width, colour_space, _ = simplejpeg.decode_jpeg_header(data)
        if (
            colour_space in colours
            and int(height) * int(width) <= contract.MAX_IMAGE_PIXELS
        ):
            return simplejpeg.decode_jpeg(data, output, strict=True)
    except ValueError:
        pass  # The file is not a JPEG, or is damaged.
    return None


def decode_with_pillow(data: bytes, mode: str = "RGB") -> np.ndarray:
    """Returns the pixels of an image as Pillow decodes them; see `decode`.

    Checks size and mode from the header, before it decodes any pixel.

    Args:
        data: Content of an image file.
        mode: Pillow's name of the mode that the image must have.

    Returns:
        `[height, width, 3]` uint8, or `[height, width]` for the one-channel mode `L`.

    Raises:
        RejectedImageError: As for `decode`.
    """
    with damage_rejected(data, FORMATS):
        image = open_sized(data, FORMATS)
        if image.mode != mode or image.has_transparency_data:
            kind = " with transparency" if image.has_transparency_data else ""
            raise RejectedImageError("mode", f"{image.mode}{kind} instead of {mode}")
        return np.asarray(load_sound(image, data))


def open_sized(data: bytes, formats: tuple[str, ...]) -> Image.Image:
    """Opens an image of at most `contract.MAX_IMAGE_PIXELS`, without decoding pixels.

    Args:
        data: Content of an image file.
        formats: Pillow's names of the formats that the image may have.

    Raises:
        RejectedImageError: If the image is larger, or Pillow would show it wrong.
    """
    image = Image.open(io.BytesIO(data), formats=formats)
    if image.width * image.height > contract.MAX_IMAGE_PIXELS:
        size = f"{image.width}x{image.height} pixels"
        limit = f"{contract.MAX_IMAGE_PIXELS:,}"
        raise RejectedImageError("oversized", f"{size}, but at most {limit} are read")
    fault = rare_forms.find_fault(image, data)
    if fault is not None:
        raise RejectedImageError("mode", fault)
    return image


def load_sound(image: Image.Image, data: bytes) -> Image.Image:
    """Decodes the pixels of an image, and rejects a damaged JPEG.

    Args:
        image: Image from `open_sized`.
        data: Content of its file.

    Returns:
        The image itself.

    Raises:
        RejectedImageError: If libjpeg finds damage in the scans of a JPEG.
    """
    image.load()
    damage = jpeg_damage.find_damage(data) if image.format in _JPEG_FORMATS else None
    if damage is not None:
        is_cut = "premature" in damage.lower()
        raise RejectedImageError("truncated" if is_cut else "unreadable", damage)
    return image


def raise_warnings() -> None:
    """Turns Pillow's warnings into errors in this process, unless they already are.

    The caller then rejects the image or ignores the error, so warnings do not fill the
    log. Warning filters apply to all threads, so the filter stays after an image.
    """
    if _PILLOW_WARNINGS not in warnings.filters:
        warnings.filterwarnings("error", module=_PILLOW_WARNINGS[3].pattern)


@contextlib.contextmanager
def damage_rejected(data: bytes, formats: Sequence[str]) -> Iterator[None]:
    """Turns the errors that Pillow raises on damage into a `RejectedImageError`."""
    raise_warnings()
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RejectedImageError("oversized", str(error)) from error
    except UnidentifiedImageError as error:
        detail = file_types.describe(data)
        if not detail:
            detail = f"no {', '.join(formats)} image in {len(data)} bytes"
            with contextlib.suppress(*DECODE_ERRORS):
                detail += rare_forms.describe_unread(data)
        raise RejectedImageError("unreadable", detail) from error
    except DECODE_ERRORS as error:
        # Pillow takes some HEIC for AVIF, and fails later.
        other = file_types.describe(data)
        detail = other or str(error) or type(error).__name__
        is_cut = not other and "truncated" in detail.lower()
        reason = "truncated" if is_cut else "unreadable"
        raise RejectedImageError(reason, detail) from error


def centre_crop(image: np.ndarray, crop_size: int) -> np.ndarray:
    """Cuts the square from the centre of an image.

    Args:
        image: `[height, width, channels]`.
        crop_size: Side of the square in pixels; 0 for the short side. If the margin is
            odd, the right and the bottom get the larger part.

    Returns:
        `[side, side, channels]`, a view.

    Raises:
        RejectedImageError: If the image is smaller than the square.
    """
    height, width, _ = image.shape
    side = crop_size or min(width, height)
    if side > min(width, height):
        detail = f"{width}x{height} pixels, smaller than crop_size={side}"
        raise RejectedImageError("too_small", detail)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def _scaled_table(dtype: str) -> np.ndarray:
    """Returns `[256]`, the stored value of each 8-bit pixel."""
    if dtype == "uint8":
        return np.arange(256, dtype=np.uint8)
    scale, offset = contract.IMAGE_DTYPES["uint8"]
    return (np.arange(256) * scale + offset).astype(dtype)


_SCALED = {dtype: _scaled_table(dtype) for dtype in contract.IMAGE_DTYPES}
