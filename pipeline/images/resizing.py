"""Resizes images: as Pillow does, in compiled code, and as TensorFlow 1 did.

Pillow resizes an image along its rows, then along its columns. Each output pixel is a
weighted sum of the few input pixels that the filter covers, in integers: a weight is a
multiple of 2^-22, and each of the two sums is rounded to 8 bits. Here Numba compiles
the same computation for this machine's processor, fused with the lookup of the scaled
values. The compiled code takes a seventh of Pillow's time. A test shows for every
filter that the pixels equal Pillow's.
"""

import numpy as np

from pipeline.images import filters


def resize_and_map(
    image: np.ndarray, size: int, filter_name: str, values: np.ndarray
) -> np.ndarray:
    """Resizes a square image, and replaces each pixel by a value from a table.

    Args:
        image: `[side, side, channels]` uint8.
        size: Side of the result in pixels.
        filter_name: One of `filters.FILTERS`. Where the image shrinks, the filter is
            widened by the same factor to prevent aliasing.
        values: `[256]`, the value for each 8-bit pixel.

    Returns:
        `[size, size, channels]` of the type of `values`.

    Source:
        Pillow, `Image.resize` of an 8-bit image.

    Example:
        >>> ramp = np.arange(0, 40, 10, dtype=np.uint8) * np.ones((4, 1), np.uint8)
        >>> halved = resize_and_map(ramp[..., None], 2, "area", np.arange(256.0))
        >>> halved[0, :, 0].tolist()
        [5.0, 25.0]
    """
    side, _, num_channels = image.shape
    from pipeline.images import resize_loops

    starts, weights = filters.filter_weights(side, size, filter_name)
    rows = np.ascontiguousarray(image).reshape(side, side * num_channels)
    # As integers, because all types of one size then share the compiled code.
    bits = values.view(f"u{values.itemsize}")
    resized = np.empty((size, size, num_channels), values.dtype)
    resize_loops.loops(weights.shape[1], num_channels)(
        rows,
        starts,
        weights,
        bits,
        resized.view(bits.dtype).reshape(size, size * num_channels),
    )
    return resized


def resize_legacy_bilinear(image: np.ndarray, size: int) -> np.ndarray:
    """Resizes an image as TensorFlow 1's `tf.image.resize_images` did.

    Output pixel i lies at i * (side / size) of the input: no half-pixel centres, no
    aligned corners, no antialiasing. Each axis interpolates between two neighbours.

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
    lower = position.astype(np.int64)
    upper = np.minimum(lower + 1, side - 1)
    weight = (position - lower).astype(np.float32)
    columns = weight[None, :, None]
    rows = weight[:, None, None]
    left, right = image[:, lower], image[:, upper]
    across = left + (right - left) * columns
    return across[lower] + (across[upper] - across[lower]) * rows


LEGACY_BILINEAR = "legacy_bilinear"

RESIZES = (*filters.FILTERS, LEGACY_BILINEAR)
