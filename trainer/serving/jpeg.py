"""Decodes image files to upright pixels, with TensorFlow operations.

JPEG and PNG files are accepted in the forms whose pixels equal those of
`pipeline.prepare`. The header decides: any other file is refused before a pixel is
decoded. A JPEG is decoded with the accurate transform and smooth chroma, and turned
upright by its EXIF orientation.

`pipeline.prepare` rejects every image that makes libjpeg warn. TensorFlow's kernel
drops these warnings, and raises an error only for a file that ends without an end
marker. So this module looks for a cut-off scan in the pixels, where libjpeg fills
missing blocks with grey. Two kinds of damage leave no such trace and are decoded:
changed bytes within a scan, and a progressive file that lacks some of its scans.

Source:
    CIPA DC-008, "Exif", sections 4.5 and 4.6.4; ITU T.81, annex B.
"""

from collections.abc import Callable

import tensorflow as tf

from pipeline import contract
from trainer.serving import image_header, png
from trainer.serving.image_header import Header, number

_APP1, _START_OF_SCAN, _END, _FILL = 0xE1, 0xDA, 0xD9, 0xFF
# Frames with Huffman codes: baseline, extended, progressive.
_FRAMES = (0xC0, 0xC1, 0xC2)
# Other frames: lossless, hierarchical, or with arithmetic codes.
_OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
# Markers without a length field.
_BARE = (0x01, *range(0xD0, 0xD9))
# Grey value of the pixels that libjpeg fills in for missing data.
_GREY = 128
# Extra codes for a scan that may be cut off: all differ, and none is a marker.
_MORE_CODES = bytes((37 * code + 11) % 251 for code in range(64))

_JPEG_START, _PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
# First bytes of refused files, with `.` for any byte.
_OTHER_STARTS = {
    "a GIF file": "GIF8[79]a",
    "a WebP file": "RIFF....WEBP",
    "a BMP file": "BM",
    "a TIFF file": r"(II[*+]\x00|MM\x00[*+])",
    "a PPM file": r"P[1-7fF]\s",
    "an AVIF or HEIC file": "....ftyp",
    "a JPEG 2000 file": r"(....jP  |\xff\x4f\xff\x51)",
}
_START_BYTES = 12
_ALLOWED = (
    "send a PNG or an 8-bit JPEG, grey or in three colours, of at most "
    f"{contract.MAX_IMAGE_PIXELS:,} pixels; or decode the image, and send its pixels"
)


def decode_upright(
    data: tf.Tensor, channels: int, name: tf.Tensor | str = "the image"
) -> tf.Tensor:
    """Returns the pixels of an image file.

    Args:
        data: String scalar, content of a JPEG or PNG file.
        channels: 3 for RGB, or 1 for luma.
        name: Name of the image in error texts.

    Returns:
        `[height, width, channels]` uint8.

    Raises:
        tf.errors.InvalidArgumentError: If the file is damaged, of an unsupported kind
            or form, or larger than `contract` allows.
    """
    start = tf.strings.substr(data, 0, _START_BYTES)
    is_jpeg = tf.strings.substr(start, 0, len(_JPEG_START)) == _JPEG_START
    is_png = tf.strings.substr(start, 0, len(_PNG_START)) == _PNG_START
    num_bytes = tf.strings.length(data)
    header = tf.cond(
        is_jpeg & (num_bytes <= contract.MAX_IMAGE_BYTES),
        lambda: read_header(data),
        lambda: tf.cond(
            is_png & (num_bytes <= contract.MAX_IMAGE_BYTES),
            lambda: png.read_header(data),
            lambda: _refused(start, num_bytes),
        ),
    )
    fault = image_header.first_fault(
        [(header.fault != "", header.fault), (True, _size_fault(header))]
    )
    message = tf.strings.join([name, " ", fault, f": {_ALLOWED}"])
    check = tf.debugging.Assert(fault == "", [message])
    with tf.control_dependencies([check]):
        data = tf.identity(data)
    pixels = tf.cond(
        is_jpeg,
        lambda: _decode_whole(data, channels, header.scan, name),
        lambda: png.decode(data, channels, header.has_alpha),
    )
    return turn(pixels, header.orientation)


def _refused(start: tf.Tensor, num_bytes: tf.Tensor) -> Header:
    """Returns a header that refuses a file: large, empty, or neither JPEG nor PNG."""
    faults: list[tuple[tf.Tensor, tf.Tensor | str]] = [
        (
            num_bytes > contract.MAX_IMAGE_BYTES,
            tf.strings.format(
                f"has {{}} bytes, more than {contract.MAX_IMAGE_BYTES:,}", num_bytes
            ),
        ),
        (num_bytes == 0, "is empty"),
    ]
    faults += [
        (_begins(start, pattern), f"is {name}")
        for name, pattern in _OTHER_STARTS.items()
    ]
    fault = image_header.first_fault(
        [*faults, (tf.constant(True), "is not a known image file")]
    )
    zero, one = tf.constant(0), tf.constant(1)
    side = tf.constant(1, tf.int64)
    return Header(fault, side, side, one, zero, tf.constant(False))


def _begins(start: tf.Tensor, pattern: str) -> tf.Tensor:
    # `\C` is any byte, while `.` matches only valid UTF-8.
    pattern = pattern.replace(".", r"\C")
    return tf.strings.regex_full_match(start, rf"(?s){pattern}\C*")


def _size_fault(header: Header) -> tf.Tensor:
    height, width = header.height, header.width
    size = tf.strings.format("has {} x {} pixels", (width, height))
    limit = contract.MAX_IMAGE_PIXELS
    # The product of two sides that are too large could overflow to any number.
    is_oversized = (height > limit) | (width > limit) | (height * width > limit)
    return image_header.first_fault(
        [
            ((height == 0) | (width == 0), size),
            (is_oversized, tf.strings.join([size, f", more than {limit:,} in all"])),
        ]
    )


def read_header(data: tf.Tensor) -> Header:
    """Returns the header of a file that begins like a JPEG.

    Args:
        data: String scalar, content of the file.
    """
    bytes_ = image_header.with_spare(data)
    frame, exif, scan = _find_segments(bytes_)
    marker, precision = number(bytes_, frame + 1, 1), number(bytes_, frame + 4, 1)
    num_colours = number(bytes_, frame + 9, 1)
    orientation = tf.where(
        exif > 0,
        image_header.orientation_of_tiff(bytes_, exif + 4),
        image_header.NO_ORIENTATION,
    )
    turning = image_header.orientation_fault(
        orientation, tf.strings.substr(data, 0, scan)
    )
    is_one = tf.reduce_any(marker == tf.constant(_FRAMES))
    fault = image_header.first_fault(
        [
            (frame == 0, "is a damaged JPEG: its header has no size"),
            (~is_one, "is a lossless JPEG, or a JPEG with arithmetic coding"),
            (
                precision != 8,
                tf.strings.format("is a JPEG with {} bits per value", precision),
            ),
            (num_colours == 4, "is a JPEG in CMYK"),
            (
                (num_colours != 1) & (num_colours != 3),
                tf.strings.format("is a JPEG with {} components", num_colours),
            ),
            (turning != "", tf.strings.join(["is a JPEG that ", turning])),
        ]
    )
    return Header(
        fault=fault,
        height=image_header.side(bytes_, frame + 5, 2),
        width=image_header.side(bytes_, frame + 7, 2),
        orientation=tf.maximum(orientation, 1),
        scan=scan,
        has_alpha=tf.constant(False),
    )


def _find_segments(bytes_: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the positions of the frame, EXIF and first scan of a JPEG.

    A position is the index of the marker. It is 0 for a missing frame or missing EXIF,
    and the end of the file for a missing scan.
    """
    is_marker = (bytes_[:-1] == _FILL) & (bytes_[1:] != _FILL) & (bytes_[1:] != 0)
    markers = tf.reshape(tf.where(is_marker), [-1])
    end = tf.cast(tf.size(bytes_) - image_header.NUM_SPARE_BYTES, tf.int64)
    markers = tf.cast(tf.concat([markers, [end, end]], axis=0), tf.int32)

    def following(
        place: tf.Tensor, frame: tf.Tensor, exif: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        marker = number(bytes_, place + 1, 1)
        is_frame = tf.reduce_any(marker == tf.constant(_FRAMES + _OTHER_FRAMES))
        is_exif = (marker == _APP1) & image_header.is_exif(bytes_, place + 4)
        is_bare = tf.reduce_any(marker == tf.constant(_BARE))
        num_bytes = tf.where(is_bare, 2, 2 + number(bytes_, place + 2, 2))
        return (
            marker_from(place + num_bytes),
            tf.where((frame == 0) & is_frame, place, frame),
            tf.where((exif == 0) & is_exif, place, exif),
        )

    def marker_from(place: tf.Tensor) -> tf.Tensor:
        # Skip bytes between segments, as libjpeg does.
        place = tf.minimum(place, tf.cast(end, tf.int32))
        return markers[tf.searchsorted(markers, [place])[0]]

    def goes_on(place: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        marker = number(bytes_, place + 1, 1)
        is_header = (marker != _START_OF_SCAN) & (marker != _END)
        return (place < tf.cast(end, tf.int32)) & is_header

    zero = tf.constant(0)
    scan, frame, exif = tf.while_loop(
        goes_on, following, [marker_from(tf.constant(2)), zero, zero]
    )
    return frame, exif, scan


def _decode_whole(
    data: tf.Tensor, channels: int, scan: tf.Tensor, name: tf.Tensor | str
) -> tf.Tensor:
    """Returns the pixels of a JPEG whose scan is not cut off."""
    pixels = _decode(data, channels)
    # A sound image may end in this grey as well, so a second check decides.
    is_suspect = tf.reduce_all(tf.equal(pixels[-1, -1], _GREY))
    is_whole = tf.cond(
        is_suspect, lambda: _is_whole(data, pixels, scan), lambda: tf.constant(True)
    )
    check = tf.debugging.Assert(
        is_whole, [tf.strings.join([name, " is a JPEG that is cut off in its scan"])]
    )
    with tf.control_dependencies([check]):
        return tf.identity(pixels)


def _decode(data: tf.Tensor, channels: int) -> tf.Tensor:
    return tf.io.decode_jpeg(data, channels, dct_method="INTEGER_ACCURATE")


def _is_whole(data: tf.Tensor, pixels: tf.Tensor, scan: tf.Tensor) -> tf.Tensor:
    """Returns whether the scan of a JPEG has codes for all of its pixels.

    Extra codes before the end marker change no pixel of a complete scan. libjpeg only
    logs that they are left over.
    """
    bytes_ = image_header.with_spare(data)
    places = tf.range(tf.size(bytes_) - 1)
    # Skip the end marker of a thumbnail in the metadata.
    is_end = (bytes_[:-1] == _FILL) & (bytes_[1:] == _END) & (places >= scan)
    end = tf.argmax(tf.cast(is_end, tf.int32), output_type=tf.int32)
    parts = [
        tf.strings.substr(data, 0, end),
        tf.constant(_MORE_CODES),
        tf.strings.substr(data, end, -1),
    ]
    more = _decode(tf.strings.join(parts), pixels.shape[-1])
    return tf.reduce_all(tf.equal(more, pixels))


def turn(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Returns an image turned upright.

    Args:
        pixels: `[height, width, channels]`.
        orientation: EXIF orientation, 1 to 8. It says which sides of the upright image
            the first row and the first column of the stored pixels are.

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

    # Transpose first, then flip columns and rows.
    pixels = where([5, 6, 7, 8], lambda x: tf.transpose(x, [1, 0, 2]), pixels)
    pixels = where([2, 3, 6, 7], lambda x: tf.reverse(x, [1]), pixels)
    return where([3, 4, 7, 8], lambda x: tf.reverse(x, [0]), pixels)
