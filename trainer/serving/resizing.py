"""Pillow's resize filters as TensorFlow operations.

A resize is two products with a matrix of weights in units of 2^-22. Each product is
rounded to 8 bits. Float64 holds the integer sums exactly, so the pixels equal Pillow's.

n  images     c  channels     h, w  their height and width     s  image_size
"""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

LEGACY_BILINEAR = "legacy_bilinear"
_FRACTION = 2.0**22
# Float64 values held at once: 128 MiB.
_MAX_FLOATS = 2**24


def resize(images: tf.Tensor, size: int, filter_name: str) -> tf.Tensor:
    """Returns square images resized as by Pillow.

    Args:
        images: `[n, side, side, c]` uint8.
        size: Side of the result in pixels.
        filter_name: `bilinear`, `bicubic`, `lanczos` or `area`. A filter that shrinks
            images is widened by the same factor.

    Returns:
        `[n, size, size, c]` uint8.

    Source:
        Pillow, `Image.resize` of an 8-bit image: rows first, then columns.
    """
    weights = filter_weights(tf.shape(images)[1], size, filter_name)
    narrow = _resize_lines(tf.transpose(images, [0, 2, 1, 3]), weights)
    return _resize_lines(tf.transpose(narrow, [0, 2, 1, 3]), weights)


def filter_weights(num_in: tf.Tensor, num_out: int, filter_name: str) -> tf.Tensor:
    """Returns the weights of a line's input pixels in each pixel of the resized line.

    Args:
        num_in: int32 scalar, number of pixels of the line.
        num_out: Number of pixels of the resized line.
        filter_name: Name of the filter, as in `resize`.

    Returns:
        `[num_out, num_in]` float64, integers in units of 2^-22.

    Example:
        >>> (filter_weights(tf.constant(4), 2, "area") / 2**22).numpy().tolist()
        [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    weight_at, radius = FILTERS[filter_name]
    pixels = tf.cast(tf.range(num_in), tf.float64)
    # The graph optimizer would turn a division by a constant into a product with its
    # rounded inverse. Then the area filter would miss pixels at its very edge.
    ratio = tf.math.divide_no_nan(tf.cast(num_in, tf.float64), num_out)
    centres = ((np.arange(num_out) + 0.5) * ratio)[:, tf.newaxis]
    widening = tf.maximum(ratio, 1.0)
    reach = radius * widening
    is_tap = (pixels >= tf.floor(centres - reach + 0.5)) & (
        pixels < tf.floor(centres + reach + 0.5)
    )
    shrink = 1.0 / widening
    taps = tf.where(is_tap, weight_at((pixels - centres + 0.5) * shrink), 0.0)
    scaled = taps / tf.reduce_sum(taps, axis=1, keepdims=True) * _FRACTION
    return tf.sign(scaled) * tf.floor(tf.abs(scaled) + 0.5)


def resize_legacy_bilinear(images: tf.Tensor, size: int) -> tf.Tensor:
    """Returns images resized as by TensorFlow 1's `tf.image.resize_images`.

    Output pixel i lies at i * (side / size) of the input: no half-pixel centres, no
    aligned corners, no antialiasing.

    Args:
        images: `[n, side, side, c]` float32.
        size: Side of the result in pixels.

    Returns:
        `[n, size, size, c]` float32.
    """
    side = tf.shape(images)[1]
    ratio = tf.cast(tf.cast(side, tf.float64) / size, tf.float32)
    position = np.arange(size, dtype=np.float32) * ratio
    lower = tf.minimum(tf.cast(position, tf.int32), side - 1)
    upper = tf.minimum(lower + 1, side - 1)
    weight = position - tf.cast(lower, tf.float32)
    left, right = tf.gather(images, lower, axis=2), tf.gather(images, upper, axis=2)
    across = left + (right - left) * weight[:, tf.newaxis]
    top, bottom = tf.gather(across, lower, axis=1), tf.gather(across, upper, axis=1)
    return top + (bottom - top) * weight[:, tf.newaxis, tf.newaxis]


def _resize_lines(images: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Resizes the first axis of each image: `[n, side, w, c] -> [n, size, w, c]`."""
    num, side, width, channels = tf.unstack(tf.shape(images))
    columns = tf.reshape(images, [num, side, width * channels])
    resized = tf.cond(
        tf.size(columns) <= _MAX_FLOATS,
        lambda: _resize_columns(columns, weights),
        lambda: _resize_in_blocks(columns, weights),
    )
    return tf.reshape(resized, [num, tf.shape(weights)[0], width, channels])


def _resize_columns(columns: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Resizes columns: `[n, side, num_columns] -> [n, size, num_columns]` uint8."""
    sums = tf.matmul(weights, tf.cast(columns, tf.float64))
    rounded = tf.clip_by_value(tf.floor(sums / _FRACTION + 0.5), 0.0, 255.0)
    return tf.cast(rounded, tf.uint8)


def _resize_in_blocks(columns: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Does the same as `_resize_columns`, one block of columns after another."""
    num, side, num_columns = tf.unstack(tf.shape(columns))
    num_at_once = tf.clip_by_value(_MAX_FLOATS // (num * side), 1, num_columns)
    num_blocks = (num_columns + num_at_once - 1) // num_at_once
    padded = num_blocks * num_at_once
    columns = tf.pad(columns, [[0, 0], [0, 0], [0, padded - num_columns]])

    def block(number: tf.Tensor) -> tf.Tensor:
        start = number * num_at_once
        return _resize_columns(columns[:, :, start : start + num_at_once], weights)

    blocks = tf.map_fn(
        block,
        tf.range(num_blocks),
        fn_output_signature=tf.TensorSpec([None, None, None], tf.uint8),
        parallel_iterations=1,
    )
    shape = [num, tf.shape(weights)[0], padded]
    return tf.reshape(tf.transpose(blocks, [1, 2, 0, 3]), shape)[..., :num_columns]


def _area(x: tf.Tensor) -> tf.Tensor:
    return tf.cast((x > -0.5) & (x <= 0.5), tf.float64)


def _bilinear(x: tf.Tensor) -> tf.Tensor:
    return tf.maximum(1.0 - tf.abs(x), 0.0)


def _bicubic(x: tf.Tensor) -> tf.Tensor:
    x = tf.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return tf.where(x < 1.0, near, tf.where(x < 2.0, far, 0.0))


def _lanczos(x: tf.Tensor) -> tf.Tensor:
    is_within = (x >= -3.0) & (x < 3.0)
    return tf.where(is_within, _sinc(x) * _sinc(x / 3.0), 0.0)


def _sinc(x: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(tf.sin(x * np.pi), x * np.pi) + tf.cast(
        tf.equal(x, 0.0), tf.float64
    )


# By filter name: weight of a pixel by its distance, and distance beyond which it is 0.
FILTERS: Mapping[str, tuple[Callable[[tf.Tensor], tf.Tensor], float]] = {
    "bilinear": (_bilinear, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
    "area": (_area, 0.5),
}
