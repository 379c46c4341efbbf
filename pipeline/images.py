"""From the bytes of an image file to a square image in [-1, 1].

The order is scale, centre crop, resize. The Pillow filters work on 8-bit pixels,
which commutes with the scaling up to the rounding of a pixel, so the scaling comes
last there, through a table of 256 values. `legacy_bilinear` follows the order in
floating point, as TensorFlow 1 did.
"""

import io
import struct
import warnings
import zlib

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from pipeline import contract

# Every reason for which an image is refused. The image alone decides.
REASONS = (
    "missing",  # Listed in the source, but its file is not there.
    "checksum",  # Its bytes are not those that the archive recorded.
    "unreadable",  # Not an image, or a damaged one.
    "truncated",  # The file ends before the image does.
    "oversized",  # More than MAX_PIXELS: a decompression bomb.
    "mode",  # Not 8-bit RGB.
    "too_small",  # Smaller than the crop.
)

# Pillow's own limit, from which it warns: about 9,500 x 9,500 pixels.
MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")

LEGACY_BILINEAR = "legacy_bilinear"

PILLOW_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}

RESIZES = (*PILLOW_FILTERS, LEGACY_BILINEAR)

# What Pillow raises on damaged input. The input is in memory, so that an OSError is
# never the disk's.
_DECODE_ERRORS = (
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

# A warning about an image refuses the image; it does not fill the log.
warnings.filterwarnings("error", module=r"PIL\.")


class RejectedImageError(Exception):
    """An image that cannot be used: one of `REASONS`, and what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        """Keeps the reason apart from the detail."""
        assert reason in REASONS, reason
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def preprocess(
    data: bytes,
    *,
    image_size: int,
    image_dtype: str,
    resize: str,
    crop_size: int,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the image of a file as it is stored in a record.

    Args:
        data: The content of an image file.
        image_size: Height and width of the result in pixels.
        image_dtype: Storage type, one of `contract.IMAGE_DTYPES`.
        resize: One of `RESIZES`.
        crop_size: Side in pixels of the square cut from the centre before the
            resize; 0 for the short side of the image.
        out: An array like the result, which may be put there: memory that is used
            again stays in the processor's cache.

    Returns:
        `[image_size, image_size, 3]`: in [-1, 1], or for uint8 in 0..255 with the
        scale and offset of `contract.IMAGE_DTYPES`.

    Raises:
        RejectedImageError: If the image cannot be used.
    """
    square = centre_crop(decode(data), crop_size)
    if resize == LEGACY_BILINEAR:
        scaled = resize_legacy_bilinear(_SCALED_FLOAT32[square], image_size)
        if image_dtype != "uint8":
            return scaled.astype(image_dtype)
        return np.rint((scaled + 1.0) * 127.5).clip(0, 255).astype(np.uint8)
    resized = Image.fromarray(square).resize(
        (image_size, image_size), resample=PILLOW_FILTERS[resize]
    )
    # `np.asarray` would come to the same, by way of an interface made for the purpose.
    pixels = np.frombuffer(resized.tobytes(), np.uint8).reshape(resized.height, -1, 3)
    return pixels if image_dtype == "uint8" else _scale(pixels, image_dtype, out)


def decode(data: bytes) -> np.ndarray:
    """Returns the pixels of an RGB image.

    A sound JPEG is decoded by simplejpeg, which calls the same library as Pillow and
    gives the same pixels in half the time. Of anything else Pillow is the judge.

    Args:
        data: The content of an image file.

    Returns:
        `[height, width, 3]` uint8.

    Raises:
        RejectedImageError: If the file is damaged, or is not an RGB image of at most
            `MAX_PIXELS`.
    """
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
        if colorspace == "YCbCr" and int(height) * int(width) <= MAX_PIXELS:
            return simplejpeg.decode_jpeg(data, "RGB", strict=True)
    except ValueError:
        pass  # Not a JPEG, or a damaged one.
    return decode_with_pillow(data)


def decode_with_pillow(data: bytes) -> np.ndarray:
    """Returns the pixels of an RGB image as Pillow decodes them; see `decode`.

    Size and mode are checked from the header, before any pixel is decoded.

    Raises:
        RejectedImageError: As `decode`.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise RejectedImageError("oversized", f"{image.width}x{image.height}")
        if image.mode != "RGB":
            raise RejectedImageError("mode", f"{image.mode} instead of RGB")
        return np.asarray(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RejectedImageError("oversized", str(error)) from error
    except UnidentifiedImageError as error:
        detail = f"no {', '.join(FORMATS)} image in {len(data)} bytes"
        raise RejectedImageError("unreadable", detail) from error
    except _DECODE_ERRORS as error:
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


def resize_legacy_bilinear(image: np.ndarray, size: int) -> np.ndarray:
    """Returns an image resized as TensorFlow 1's `tf.image.resize_images` did it.

    Output pixel i lies at i * (side / size) of the input: no half-pixel centres, no
    aligned corners, no antialiasing. Each axis interpolates its two neighbours.

    Args:
        image: `[side, side, channels]` float32.
        size: Side of the result in pixels.

    Returns:
        `[size, size, channels]` float32.

    Source:
        tensorflow/core/kernels/image/resize_bilinear_op.cc with `LegacyScaler`.

    Example:
        >>> ramp = np.arange(3, dtype=np.float32) * np.ones((3, 1), np.float32)
        >>> resize_legacy_bilinear(ramp[..., None], 2)[0, :, 0].tolist()
        [0.0, 1.5]
    """
    side = image.shape[0]
    position = np.arange(size, dtype=np.float32) * np.float32(side / size)
    lower = np.minimum(position.astype(np.int64), side - 1)
    upper = np.minimum(lower + 1, side - 1)
    weight = (position - lower).astype(np.float32)
    columns = weight[None, :, None]
    rows = weight[:, None, None]
    left, right = image[:, lower], image[:, upper]
    across = left + (right - left) * columns
    return across[lower] + (across[upper] - across[lower]) * rows


def _scale(pixels: np.ndarray, dtype: str, out: np.ndarray | None) -> np.ndarray:
    """Returns 8-bit pixels in [-1, 1], looked up two at a time where they pair up."""
    flat = pixels.reshape(-1)
    if flat.size % 2:
        return _SCALED[dtype][pixels]
    scaled = np.empty(pixels.shape, dtype) if out is None else out
    table = _SCALED_PAIRS[dtype]
    # Clipping spares the check of indices, none of which is out of range.
    table.take(flat.view("<u2"), out=scaled.reshape(-1).view(table.dtype), mode="clip")
    return scaled


def _scaled_table(dtype: str) -> np.ndarray:
    """Returns `[256]`: what each 8-bit pixel becomes in [-1, 1]."""
    scale, offset = contract.IMAGE_DTYPES["uint8"]
    return (np.arange(256) * scale + offset).astype(dtype)


def _pair_table(scaled: np.ndarray) -> np.ndarray:
    """Returns `[65536]`: two table values as one, by two pixels read as one."""
    low, high = np.arange(65536) % 256, np.arange(65536) // 256
    pairs = np.stack([scaled[low], scaled[high]], axis=1)
    return pairs.view(f"u{2 * scaled.itemsize}")[:, 0]


_SCALED_FLOAT32 = _scaled_table("float32")
_SCALED = {"float16": _scaled_table("float16"), "float32": _SCALED_FLOAT32}
_SCALED_PAIRS = {dtype: _pair_table(table) for dtype, table in _SCALED.items()}
