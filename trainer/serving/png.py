"""Decodes PNG files to the pixels of `pipeline.prepare`, with TensorFlow operations.

Transparent pixels are laid over white. An animation is decoded to its first frame.

Source:
    W3C, "Portable Network Graphics (PNG) Specification", third edition.
"""

import tensorflow as tf

from trainer.serving import image_header
from trainer.serving.image_header import Header, number

# Types of chunks, as numbers.
_IHDR, _PLTE, _TRNS, _IDAT, _IEND, _EXIF, *_TEXTS = (
    int.from_bytes(name)
    for name in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf")
    + (b"tEXt", b"zTXt", b"iTXt")
)
_GREY, _RGB, _PALETTE = 0, 2, 3
_SIGNATURE_BYTES = 8
# Text chunks in which Pillow looks for an orientation.
_EXIF_TEXT = r"(?s)(Raw profile type exif|exif|xmp)\x00\C*"
_XMP_TEXT = r"(?s)XML:com\.adobe\.xmp\x00\C*"
_PLAIN_XMP_TEXT = r"(?s)XML:com\.adobe\.xmp\x00\x00\C*"
_KEYWORD_BYTES = 24


def read_header(data: tf.Tensor) -> Header:
    """Returns the header of a file that begins like a PNG.

    Args:
        data: String scalar, content of the file.
    """
    bytes_ = image_header.with_spare(data)
    end = tf.size(bytes_) - image_header.NUM_SPARE_BYTES
    nowhere = tf.constant(0)

    def goes_on(place: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        return (place < end) & (number(bytes_, place + 4, 4) != _IEND)

    def following(place, palette, alpha, pixels, exif, is_text_fit, has_xmp):
        kind = number(bytes_, place + 4, 4)
        length = tf.clip_by_value(number(bytes_, place, 4), 0, end)
        start = tf.minimum(place + 8, end)
        keyword = tf.strings.substr(data, start, _KEYWORD_BYTES)
        is_text = tf.reduce_any(kind == tf.constant(_TEXTS))

        def has(pattern: str) -> tf.Tensor:
            return is_text & tf.strings.regex_full_match(keyword, pattern)

        is_unfit = has(_EXIF_TEXT) | (
            has(_XMP_TEXT) & ~((kind == _TEXTS[2]) & has(_PLAIN_XMP_TEXT))
        )
        is_second = (alpha != nowhere) & (kind == _TRNS)
        return (
            tf.minimum(place + 12 + length, end),
            tf.where(kind == _PLTE, place, palette),
            tf.where(kind == _TRNS, tf.where(is_second, -1, place), alpha),
            tf.where((kind == _IDAT) & (pixels == nowhere), place, pixels),
            # Pillow takes the last EXIF chunk.
            tf.where(kind == _EXIF, place, exif),
            is_text_fit & ~is_unfit,
            has_xmp | has(_XMP_TEXT),
        )

    places = [tf.constant(_SIGNATURE_BYTES), *[nowhere] * 4]
    flags = [tf.constant(True), tf.constant(False)]
    _, palette, alpha, pixels, exif, is_text_fit, has_xmp = tf.while_loop(
        goes_on, following, [*places, *flags]
    )
    depth, colour = number(bytes_, 24, 1), number(bytes_, 25, 1)
    num_colours = number(bytes_, palette, 4) // 3
    num_alphas = number(bytes_, alpha, 4)
    is_alpha_sound = tf.where(
        colour == _PALETTE,
        (palette > 0) & (palette < alpha) & (num_alphas <= num_colours),
        num_alphas == tf.where(colour == _RGB, 6, 2),
    )
    is_alpha_sound &= (alpha > 0) & (alpha < pixels) & (num_alphas > 0)
    orientation = tf.where(
        exif > 0,
        image_header.orientation_of_tiff(bytes_, exif + 8),
        image_header.NO_ORIENTATION,
    )
    is_header_first = (number(bytes_, 8, 4) == 13) & (number(bytes_, 12, 4) == _IHDR)
    has_colour_key = (alpha != 0) & ((colour == _GREY) | (colour == _RGB))
    turning = image_header.orientation_fault(orientation, data, has_xmp)
    fault = image_header.first_fault(
        [
            (~is_header_first, "is a damaged PNG: it does not begin with its header"),
            ((colour == _GREY) & (depth == 16), "is a 16-bit grey PNG"),
            (
                has_colour_key & (depth == 16),
                "is a 16-bit PNG with a transparent colour",
            ),
            (
                (alpha != 0) & (colour <= _PALETTE) & ~is_alpha_sound,
                "is a PNG with a damaged or misplaced tRNS chunk",
            ),
            (~is_text_fit, "is a PNG with EXIF or XMP in an unsupported text chunk"),
            (turning != "", tf.strings.join(["is a PNG that ", turning])),
        ]
    )
    return Header(
        fault=fault,
        height=image_header.side(bytes_, 20, 4),
        width=image_header.side(bytes_, 16, 4),
        orientation=tf.maximum(orientation, 1),
        scan=nowhere,
        has_alpha=(alpha != 0) | (colour > _PALETTE),
    )


def decode(data: tf.Tensor, channels: int, has_alpha: tf.Tensor) -> tf.Tensor:
    """Returns the pixels of a PNG file.

    Args:
        data: String scalar, content of the file.
        channels: 3 for RGB, or 1 for luma.
        has_alpha: Whether pixels may be transparent, and have to be laid over white.

    Returns:
        `[height, width, channels]` uint8.

    Raises:
        tf.errors.InvalidArgumentError: If the file is damaged.
    """
    # The kernel's fourth channel is wrong for opaque pixels of less than 8 bits.
    colours = tf.cond(
        has_alpha,
        lambda: over_white(tf.io.decode_png(data, 4)),
        lambda: tf.io.decode_png(data, 3),
    )
    return colours if channels == 3 else luma(colours)


def over_white(pixels: tf.Tensor) -> tf.Tensor:
    """Returns pixels laid over white, with the rounding of Pillow's paste.

    Args:
        pixels: `[height, width, 4]` uint8: RGB and opacity.

    Returns:
        `[height, width, 3]` uint8.

    Example:
        >>> over_white(tf.constant([[[200, 100, 0, 51]]], tf.uint8)).numpy().tolist()
        [[[244, 224, 204]]]
    """
    # uint16 holds the sums, which are at most 65,407.
    wide = tf.cast(pixels, tf.uint16)
    colour, opacity = wide[..., :3], wide[..., 3:]
    sums = 255 * (255 - opacity) + colour * opacity + 128
    byte = tf.constant(8, tf.uint16)
    rounded = tf.bitwise.right_shift(sums, byte) + sums
    return tf.cast(tf.bitwise.right_shift(rounded, byte), tf.uint8)


def luma(pixels: tf.Tensor) -> tf.Tensor:
    """Returns the luma of RGB pixels, with the rounding of Pillow's grey conversion.

    Args:
        pixels: `[height, width, 3]` uint8.

    Returns:
        `[height, width, 1]` uint8.

    Source:
        ITU-R BT.601, in units of 2^-16.

    Example:
        >>> luma(tf.constant([[[255, 0, 0], [7, 7, 7]]], tf.uint8)).numpy().tolist()
        [[[76], [7]]]
    """
    weights = tf.constant([19595, 38470, 7471])
    sums = tf.reduce_sum(tf.cast(pixels, tf.int32) * weights, -1, keepdims=True)
    return tf.cast((sums + 2**15) // 2**16, tf.uint8)
