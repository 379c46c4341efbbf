"""Image files as upright pixels, as TensorFlow operations.

A JPEG is decoded with the accurate transform and smooth chroma, which are the pixels of
`pipeline.prepare`, and turned as its EXIF orientation says. TensorFlow's kernel takes
PNG too.

`pipeline.prepare` rejects every image that libjpeg warns of. The kernel drops these
warnings, and raises only where a file ends without an end marker. So a cut scan with an
end marker is looked for in the pixels: libjpeg fills missing blocks with grey. Other
damage shows in no pixel, and is decoded: changed bytes within a scan, and a progressive
file that has some of its scans.

Source:
    CIPA DC-008, "Exif", sections 4.5 and 4.6.4; ITU T.81, annex B.
"""

from collections.abc import Callable

import tensorflow as tf

_APP1, _START_OF_SCAN, _END, _FILL = 0xE1, 0xDA, 0xD9, 0xFF
_ORIENTATION_TAG, _SHORT = 0x0112, 3
# Read beyond the end of a file, so that no place in it is one too far.
_NUM_SPARE_BYTES = 16
# Level of the pixels that libjpeg fills in.
_GREY = 128
# Codes for a scan that lacks some: no two of them are alike, and none is a marker.
_MORE_CODES = bytes((37 * number + 11) % 251 for number in range(64))


def decode_upright(data: tf.Tensor, channels: int) -> tf.Tensor:
    """Returns the pixels of an image file.

    Args:
        data: The content of a JPEG file, or of an opaque PNG of 8 bits; string scalar.
        channels: 3 for RGB, or 1 for grey.

    Returns:
        `[height, width, channels]` uint8.

    Raises:
        tf.errors.InvalidArgumentError: If it is damaged, or no such file.
    """
    pixels = _decode(data, channels)
    # Few sound images end in this grey: the second look is for them, too.
    is_suspect = tf.reduce_all(tf.equal(pixels[-1, -1], _GREY))
    is_whole = tf.cond(
        is_suspect, lambda: _is_whole(data, pixels), lambda: tf.constant(True)
    )
    check = tf.debugging.Assert(is_whole, ["a JPEG is cut off: its scan ends early"])
    with tf.control_dependencies([check]):
        return turn(pixels, orientation(data))


def _decode(data: tf.Tensor, channels: int) -> tf.Tensor:
    return tf.io.decode_jpeg(data, channels, dct_method="INTEGER_ACCURATE")


def _is_whole(data: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Returns whether the scan of a JPEG has codes for all of its pixels.

    Codes that are added before the end marker change nothing then. libjpeg writes to
    the log that they are left over.
    """
    bytes_ = _with_spare(data)
    # A thumbnail in the metadata has an end marker, too.
    start = _find_segment(bytes_, lambda place: tf.constant(False))
    places = tf.range(tf.size(bytes_) - 1)
    is_end = (bytes_[:-1] == _FILL) & (bytes_[1:] == _END) & (places >= start)
    end = tf.argmax(tf.cast(is_end, tf.int32), output_type=tf.int32)

    def is_unchanged() -> tf.Tensor:
        parts = [
            tf.strings.substr(data, 0, end),
            tf.constant(_MORE_CODES),
            tf.strings.substr(data, end, -1),
        ]
        more = _decode(tf.strings.join(parts), pixels.shape[-1])
        return tf.reduce_all(tf.equal(more, pixels))

    is_jpeg = _number(bytes_, tf.constant(0), 2) == 0xFFD8
    return tf.cond(is_jpeg, is_unchanged, lambda: tf.constant(True))


def turn(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Returns an image upright.

    Args:
        pixels: `[height, width, channels]`.
        orientation: 1 to 8, as EXIF numbers where the first row and column belong.

    Example:
        >>> turn(tf.constant([[[1], [2]]]), tf.constant(6))[..., 0].numpy().tolist()
        [[1], [2]]
        >>> turn(tf.constant([[[1], [2]]]), tf.constant(3))[..., 0].numpy().tolist()
        [[2, 1]]
    """

    def where(
        orientations: list[int], change: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor
    ) -> tf.Tensor:
        is_one = tf.reduce_any(tf.equal(orientation, orientations))
        return tf.cond(is_one, lambda: change(x), lambda: x)

    # Rows and columns exchanged; then what is first is made last.
    pixels = where([5, 6, 7, 8], lambda x: tf.transpose(x, [1, 0, 2]), pixels)
    pixels = where([2, 3, 6, 7], lambda x: tf.reverse(x, [1]), pixels)
    return where([3, 4, 7, 8], lambda x: tf.reverse(x, [0]), pixels)


def orientation(data: tf.Tensor) -> tf.Tensor:
    """Returns the EXIF orientation of a JPEG file, 1 to 8; 1 if it has none.

    Args:
        data: The content of a file, string scalar.

    Returns:
        An int32 scalar.
    """
    bytes_ = _with_spare(data)
    start = _find_exif(bytes_)
    found = _orientation_of_tiff(bytes_, start + 10)
    return tf.where((start > 0) & (found >= 1) & (found <= 8), found, 1)


def _with_spare(data: tf.Tensor) -> tf.Tensor:
    """Returns the bytes of a file, and some zeros: `[num_bytes + 16]` uint8."""
    spare = tf.zeros([_NUM_SPARE_BYTES], tf.uint8)
    return tf.concat([tf.io.decode_raw(data, tf.uint8), spare], axis=0)


def _find_exif(bytes_: tf.Tensor) -> tf.Tensor:
    """Returns where the segment with EXIF begins, at its marker; 0 for nowhere."""

    def is_exif(place: tf.Tensor) -> tf.Tensor:
        # "Exif" and two zeros, after the marker and the segment's length.
        is_named = _number(bytes_, place + 4, 3) == 0x457869
        is_ended = _number(bytes_, place + 7, 3) == 0x660000
        return (_number(bytes_, place + 1, 1) == _APP1) & is_named & is_ended

    place = _find_segment(bytes_, is_exif)
    is_jpeg = _number(bytes_, tf.constant(0), 2) == 0xFFD8
    end = tf.size(bytes_) - _NUM_SPARE_BYTES
    return tf.where(is_jpeg & (place < end) & is_exif(place), place, 0)


def _find_segment(
    bytes_: tf.Tensor, is_wanted: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Returns where the first segment of a JPEG that is wanted begins, at its marker.

    If none is, it is where the first scan begins, or where there is no segment.
    """
    end = tf.size(bytes_) - _NUM_SPARE_BYTES

    def marker(place: tf.Tensor) -> tf.Tensor:
        return _number(bytes_, place + 1, 1)

    def goes_on(place: tf.Tensor) -> tf.Tensor:
        is_segment = (place < end) & (_number(bytes_, place, 1) == _FILL)
        return is_segment & (marker(place) != _START_OF_SCAN) & ~is_wanted(place)

    def following(place: tf.Tensor) -> tuple[tf.Tensor]:
        num_bytes = tf.where(
            marker(place) == _FILL, 1, 2 + _number(bytes_, place + 2, 2)
        )
        return (place + num_bytes,)

    (place,) = tf.while_loop(goes_on, following, [tf.constant(2)])
    return place


def _orientation_of_tiff(bytes_: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Returns the orientation in the first directory of a TIFF header, if it has one.

    Else it is no number from 1 to 8.
    """
    is_little = _number(bytes_, start, 2) == 0x4949
    # A place beyond the file is its end, and a negative one its start.
    directory = start + _number(bytes_, start + 4, 4, is_little)
    num_entries = _number(bytes_, directory, 2, is_little)
    entries = directory + 2 + 12 * tf.range(num_entries)
    is_orientation = (_number(bytes_, entries, 2, is_little) == _ORIENTATION_TAG) & (
        _number(bytes_, entries + 2, 2, is_little) == _SHORT
    )
    values = _number(bytes_, entries + 8, 2, is_little)
    return tf.reduce_max(tf.where(is_orientation, values, 0))


def _number(
    bytes_: tf.Tensor,
    place: tf.Tensor,
    num_bytes: int,
    is_little: tf.Tensor | bool = False,
) -> tf.Tensor:
    """Returns the integers at places of a file, int32 of the shape of `place`."""
    offsets = tf.range(num_bytes)
    places = tf.expand_dims(place, -1) + tf.where(
        is_little, num_bytes - 1 - offsets, offsets
    )
    last = tf.size(bytes_) - 1
    digits = tf.gather(bytes_, tf.clip_by_value(places, 0, last))
    factors = tf.constant([256**power for power in reversed(range(num_bytes))])
    return tf.reduce_sum(tf.cast(digits, tf.int32) * factors, axis=-1)
