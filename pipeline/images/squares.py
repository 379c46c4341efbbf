"""From an image file, or its pixels, to a square image in [-1, 1].

The order is scale, centre crop, resize. Pillow's filters work on 8-bit pixels, which
commutes with the scaling up to the rounding of a pixel, so the scaling comes last
there, through a table of 256 values. `legacy_bilinear` follows the order in floating
point, as TensorFlow 1 did.
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
from pipeline.images import jpeg_damage, rare_forms, resizing, user_function

# Every reason for which an image is refused. The image alone decides.
REASONS = (
    "missing",  # Listed in the source, but its file is not there.
    "name",  # Its file's name is not UTF-8, or has control characters.
    "checksum",  # Its bytes are not those that the archive recorded.
    "unreadable",  # Not an image, or a damaged one.
    "truncated",  # The file ends before the image does.
    "oversized",  # More than `contract` allows: a decompression bomb.
    "mode",  # Not 8-bit RGB; of an image that is converted, not convertible.
    "too_small",  # Smaller than the crop.
)

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")

# Pillow's names of a JPEG, and of one that several others follow.
_JPEG_FORMATS = ("JPEG", "MPO")

# What Pillow raises on damaged input. The input is in memory, so that an OSError is
# never the disk's.
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

# As `warnings.filterwarnings("error", module=...)` adds it.
_PILLOW_WARNINGS = ("error", None, Warning, re.compile(r"PIL\."), 0)


class RejectedImageError(Exception):
    """An image that cannot be used: one of `REASONS`, and what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        """Keeps the reason apart from the detail."""
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
    """Returns an image as it is stored in a record.

    Args:
        image: The content of an RGB image file, or `[height, width, channels]` uint8.
        image_size: Height and width of the result in pixels.
        image_dtype: Storage type, one of `contract.IMAGE_DTYPES`.
        resize: One of `resizing.RESIZES`.
        crop_size: Side in pixels of the square cut from the centre before the
            resize; 0 for the short side of the image.
        function: Name of the user's function, called on the pixels before the crop;
            see `user_function`.

    Returns:
        `[image_size, image_size, channels]`: in [-1, 1], or for uint8 in 0..255 with
        the scale and offset of `contract.IMAGE_DTYPES`.

    Raises:
        RejectedImageError: If the image cannot be used.
        DatasetError: If the user's function cannot.
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

    A sound JPEG is decoded by simplejpeg. Of anything else Pillow is the judge.

    Args:
        data: The content of an image file.

    Returns:
        `[height, width, 3]` uint8.

    Raises:
        RejectedImageError: If the file is damaged, or is not an RGB image of at most
            `contract.MAX_IMAGE_PIXELS`.
    """
    pixels = decode_sound_jpeg(data)
    return decode_with_pillow(data) if pixels is None else pixels


def decode_sound_jpeg(
    data: bytes, colours: Collection[str] = ("YCbCr", "RGB"), output: str = "RGB"
) -> np.ndarray | None:
    """Returns the pixels of a sound JPEG, or None if it is anything else.

    simplejpeg calls the same library as Pillow, and gives the same pixels in half the
    time.

    Args:
        data: The content of a file.
        colours: What a file may have, by simplejpeg's names.
        output: What they become, by simplejpeg's name.

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
        pass  # Not a JPEG, or a damaged one.
    return None


def decode_with_pillow(data: bytes, mode: str = "RGB") -> np.ndarray:
    """Returns the pixels of an image as Pillow decodes them; see `decode`.

    Size and mode are checked from the header, before any pixel is decoded.

    Args:
        data: The content of an image file.
        mode: Pillow's name of the mode that the image must have.

    Returns:
        `[height, width, 3]` uint8, or for the mode `L`, of one channel,
        `[height, width]`.

    Raises:
        RejectedImageError: As `decode`.
    """
    with damage_rejected(data, FORMATS):
        image = open_sized(data, FORMATS)
        if image.mode != mode or image.has_transparency_data:
            kind = " with transparency" if image.has_transparency_data else ""
            raise RejectedImageError("mode", f"{image.mode}{kind} instead of {mode}")
        return np.asarray(load_sound(image, data))


def open_sized(data: bytes, formats: tuple[str, ...]) -> Image.Image:
    """Returns an image of at most `contract.MAX_IMAGE_PIXELS`, none decoded yet.

    Args:
        data: The content of an image file.
        formats: Pillow's names of those that it may be in.

    Raises:
        RejectedImageError: If it is larger, or has a form that would be shown wrong.
    """
    image = Image.open(io.BytesIO(data), formats=formats)
    if image.width * image.height > contract.MAX_IMAGE_PIXELS:
        raise RejectedImageError("oversized", f"{image.width}x{image.height}")
    fault = rare_forms.find_fault(image, data)
    if fault is not None:
        raise RejectedImageError("mode", fault)
    return image


def load_sound(image: Image.Image, data: bytes) -> Image.Image:
    """Decodes the pixels of an image that is not damaged.

    Args:
        image: From `open_sized`.
        data: The content of its file.

    Returns:
        The image itself.

    Raises:
        RejectedImageError: If it is a JPEG in whose scans libjpeg finds damage.
    """
    image.load()
    damage = jpeg_damage.find_damage(data) if image.format in _JPEG_FORMATS else None
    if damage is not None:
        is_cut = "premature" in damage.lower()
        raise RejectedImageError("truncated" if is_cut else "unreadable", damage)
    return image


def raise_warnings() -> None:
    """Has Pillow's warnings raised in this process, unless they are already.

    A warning about an image refuses the image; it does not fill the log. Filters are
    of all threads, so none is removed after an image.
    """
    if _PILLOW_WARNINGS not in warnings.filters:
        warnings.filterwarnings("error", module=_PILLOW_WARNINGS[3].pattern)


@contextlib.contextmanager
def damage_rejected(data: bytes, formats: Sequence[str]) -> Iterator[None]:
    """Turns what Pillow raises on a damaged image to a `RejectedImageError`."""
    raise_warnings()
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RejectedImageError("oversized", str(error)) from error
    except UnidentifiedImageError as error:
        detail = f"no {', '.join(formats)} image in {len(data)} bytes"
        with contextlib.suppress(*DECODE_ERRORS):
            detail += rare_forms.describe_unread(data)
        raise RejectedImageError("unreadable", detail) from error
    except DECODE_ERRORS as error:
        detail = str(error) or type(error).__name__
        reason = "truncated" if "truncated" in detail.lower() else "unreadable"
        raise RejectedImageError(reason, detail) from error


def centre_crop(image: np.ndarray, crop_size: int) -> np.ndarray:
    """Returns the square in the centre of an image.

    Args:
        image: `[height, width, channels]`.
        crop_size: Side of the square in pixels; 0 for the short side. Where the
            margin is odd, the larger part of it is at the right and the bottom.

    Returns:
        `[side, side, channels]`, a view.

    Raises:
        RejectedImageError: If the image is smaller than the square.
    """
    height, width, _ = image.shape
    side = crop_size or min(width, height)
    if side > min(width, height):
        raise RejectedImageError("too_small", f"{width}x{height}, crop {side}")
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def _scaled_table(dtype: str) -> np.ndarray:
    """Returns `[256]`: how each 8-bit pixel is stored."""
    if dtype == "uint8":
        return np.arange(256, dtype=np.uint8)
    scale, offset = contract.IMAGE_DTYPES["uint8"]
    return (np.arange(256) * scale + offset).astype(dtype)


_SCALED = {dtype: _scaled_table(dtype) for dtype in contract.IMAGE_DTYPES}
