"""Reads the headers of image files, with TensorFlow operations.

Source:
    CIPA DC-008, "Exif", sections 4.5 and 4.6.4.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

# Zero bytes appended to a file, so that reads near its end stay in range.
NUM_SPARE_BYTES = 16
# Results of `orientation_of_tiff` other than 1 to 8.
NO_ORIENTATION, ODD_ORIENTATION = 0, -1

_ORIENTATION_TAG = 0x0112
_SHORT, _LONG = 3, 4
# First bytes of TIFF in both byte orders; then of BigTIFF.
_TIFF_STARTS = (0x49492A00, 0x4D4D002A)
_BIG_TIFF_STARTS = (0x49492B00, 0x4D4D002B)
_EXIF_MARK = (0x457869, 0x660000)
# The pattern that Pillow searches for; `\C` is any byte.
_TURNED_BY_XMP = r'(?s)\C*tiff:Orientation(="|>)[2-8]\C*'


class Header(NamedTuple):
    """Scalars that describe a file before any pixel is decoded.

    Attributes:
        fault: Reason why the file is refused, string; empty if it is accepted.
        height: Height in pixels as stored, int64.
        width: Width in pixels as stored, int64.
        orientation: EXIF orientation, 1 to 8; see `jpeg.turn`.
        scan: Position of the coded pixels of a JPEG, int32; otherwise 0.
        has_alpha: Whether pixels may be transparent.
    """

    fault: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    orientation: tf.Tensor
    scan: tf.Tensor
    has_alpha: tf.Tensor


def with_spare(data: tf.Tensor) -> tf.Tensor:
    """Returns the bytes of a file, followed by zeros: `[num_bytes + 16]` uint8."""
    spare = tf.zeros([NUM_SPARE_BYTES], tf.uint8)
    return tf.concat([tf.io.decode_raw(data, tf.uint8), spare], axis=0)


def number(
    bytes_: tf.Tensor,
    place: tf.Tensor | int,
    num_bytes: int,
    is_little: tf.Tensor | bool = False,
) -> tf.Tensor:
    """Returns the integers at positions in a file.

    Args:
        bytes_: Bytes from `with_spare`.
        place: Indices, of any shape. An index beyond the end counts as the end.
        num_bytes: Size of each integer in bytes, 1 to 4.
        is_little: Whether the byte order is little-endian.

    Returns:
        int32 of the shape of `place`; numbers from 2^31 on become negative.

    Example:
        >>> number(with_spare(tf.constant(b"PNG!")), tf.constant(1), 2).numpy().item()
        20039
    """
    offsets = tf.range(num_bytes)
    places = tf.expand_dims(place, -1) + tf.where(
        is_little, num_bytes - 1 - offsets, offsets
    )
    last = tf.size(bytes_) - 1
    digits = tf.gather(bytes_, tf.clip_by_value(places, 0, last))
    factors = tf.constant([256**power for power in reversed(range(num_bytes))])
    return tf.reduce_sum(tf.cast(digits, tf.int32) * factors, axis=-1)


def side(bytes_: tf.Tensor, place: int | tf.Tensor, num_bytes: int) -> tf.Tensor:
    """Returns the height or width at a position, of 2 or 4 bytes: int64 scalar."""
    return tf.cast(number(bytes_, place, num_bytes), tf.int64) & 0xFFFFFFFF


def is_exif(bytes_: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """Returns whether "Exif" and two zero bytes are at a position in a file."""
    return (number(bytes_, place, 3) == _EXIF_MARK[0]) & (
        number(bytes_, place + 3, 3) == _EXIF_MARK[1]
    )


def orientation_of_tiff(bytes_: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Returns the orientation in the first directory of a TIFF header.

    Args:
        bytes_: Bytes from `with_spare`.
        start: int32 scalar, position of the header or of "Exif" before it.

    Returns:
        An int32 scalar, 1 to 8; an undefined number counts as 1. The result is
        `NO_ORIENTATION` without an orientation, and `ODD_ORIENTATION` if the value has
        a form that is not supported here.
    """
    start += tf.where(is_exif(bytes_, start), 6, 0)
    # Some programs write "Exif" twice.
    start += tf.where(is_exif(bytes_, start), 6, 0)
    first = number(bytes_, start, 4)
    is_little = number(bytes_, start, 2) == 0x4949
    # A position beyond the file counts as its end, and a negative one as its start.
    directory = start + number(bytes_, start + 4, 4, is_little)
    num_entries = number(bytes_, directory, 2, is_little)
    entries = directory + 2 + 12 * tf.range(num_entries)
    is_wanted = number(bytes_, entries, 2, is_little) == _ORIENTATION_TAG
    types = number(bytes_, entries + 2, 2, is_little)
    counts = number(bytes_, entries + 4, 4, is_little)
    values = tf.where(
        types == _SHORT,
        number(bytes_, entries + 8, 2, is_little),
        number(bytes_, entries + 8, 4, is_little),
    )
    is_read = (counts == 1) & _is_one_of(types, (_SHORT, _LONG))
    value = tf.reduce_max(tf.where(is_wanted, values, 0))
    known = tf.where((value >= 1) & (value <= 8), value, 1)
    is_repeated = tf.reduce_sum(tf.cast(is_wanted, tf.int32)) > 1
    is_odd = tf.reduce_any(is_wanted & ~is_read) | is_repeated
    orientation = tf.where(is_odd, ODD_ORIENTATION, known)
    orientation = tf.where(tf.reduce_any(is_wanted), orientation, NO_ORIENTATION)
    orientation = tf.where(_is_one_of(first, _TIFF_STARTS), orientation, NO_ORIENTATION)
    return tf.where(_is_one_of(first, _BIG_TIFF_STARTS), ODD_ORIENTATION, orientation)


def orientation_fault(
    orientation: tf.Tensor, text: tf.Tensor, may_have_xmp: tf.Tensor | bool = True
) -> tf.Tensor:
    """Returns why an image cannot be turned upright; empty if it can.

    Args:
        orientation: Orientation from `orientation_of_tiff`.
        text: String scalar, bytes of the file that may hold XMP. XMP counts only if
            EXIF has no orientation.
        may_have_xmp: Whether to search `text` at all.
    """
    is_turned = tf.cond(
        (orientation == NO_ORIENTATION) & may_have_xmp,
        lambda: tf.strings.regex_full_match(text, _TURNED_BY_XMP),
        lambda: tf.constant(False),
    )
    return first_fault(
        [
            (orientation == ODD_ORIENTATION, "has an unusual EXIF orientation"),
            (is_turned, "has an orientation only in XMP"),
        ]
    )


def first_fault(faults: Sequence[tuple[tf.Tensor, tf.Tensor | str]]) -> tf.Tensor:
    """Returns the text of the first true condition, or an empty text."""
    message = tf.constant("")
    for is_there, text in reversed(faults):
        message = tf.where(is_there, text, message)
    return message


def _is_one_of(values: tf.Tensor, allowed: Sequence[int]) -> tf.Tensor:
    return tf.reduce_any(tf.equal(tf.expand_dims(values, -1), allowed), axis=-1)
