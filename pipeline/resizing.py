"""The resize filters: Pillow's, compiled, and TensorFlow 1's.

Pillow resizes an image along its rows, then along its columns. Each output pixel is a
weighted sum of the few input pixels that the filter covers, in integers: a weight is a
multiple of 2^-22, and each of the two sums is rounded to 8 bits. Here Numba compiles
that for the processor at hand, and joins the lookup of the scaled values to it, in
a seventh of the time. The pixels are Pillow's, which a test shows for every filter.
"""

import functools
import math
from collections.abc import Callable

import numpy as np

# Of a weight, and so of `resize_loops`.
FRACTION_BITS = 22


def resize_and_map(
    image: np.ndarray, size: int, filter_name: str, values: np.ndarray
) -> np.ndarray:
    """Returns a square image resized, with each of its pixels replaced by a value.

    Args:
        image: `[side, side, channels]` uint8.
        size: Side of the result in pixels.
        filter_name: One of `PILLOW_FILTERS`. Where the image shrinks, the filter is
            widened by as much, which is what keeps it from aliasing.
        values: `[256]`: what each 8-bit pixel becomes.

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
    from pipeline import resize_loops

    starts, weights = filter_weights(side, size, filter_name)
    rows = np.ascontiguousarray(image).reshape(side, -1)
    # As integers: the compiled code is the same for every type of as many bytes.
    bits = values.view(f"u{values.itemsize}")
    resized = np.empty((size, size, num_channels), values.dtype)
    resize_loops.loops(weights.shape[1], num_channels)(
        rows, starts, weights, bits, resized.view(bits.dtype).reshape(size, -1)
    )
    return resized


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


@functools.lru_cache(maxsize=64)
def filter_weights(
    num_in: int, num_out: int, filter_name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which pixels of a line make each pixel of the resized line.

    Args:
        num_in: Pixels of the line.
        num_out: Pixels of the resized line.
        filter_name: One of `PILLOW_FILTERS`.

    Returns:
        `[num_out]`, the first of the pixels that make each one, and
        `[num_out, num_taps]`, their weights in units of 2^-22, all int32.
    """
    weight_at, radius = PILLOW_FILTERS[filter_name]
    scale = num_in / num_out
    widening = max(scale, 1.0)
    lines: list[tuple[int, list[float]]] = []
    for position in range(num_out):
        centre = (position + 0.5) * scale
        first = max(int(centre - radius * widening + 0.5), 0)
        last = min(int(centre + radius * widening + 0.5), num_in)
        shrink = 1.0 / widening
        taps = [
            weight_at((pixel - centre + 0.5) * shrink) for pixel in range(first, last)
        ]
        lines.append((first, taps))
    num_taps = max(len(taps) for _, taps in lines)
    starts = np.zeros(num_out, np.int32)
    weights = np.zeros((num_out, num_taps), np.int32)
    for position, (first, taps) in enumerate(lines):
        total = sum(taps)
        # Near the end of the line the first taps are of weight 0.
        start = min(first, num_in - num_taps)
        starts[position] = start
        for place, weight in enumerate(taps, start=first - start):
            scaled = weight / total * (1 << FRACTION_BITS)
            weights[position, place] = int(scaled + math.copysign(0.5, scaled))
    return starts, weights


def _area(x: float) -> float:
    return 1.0 if -0.5 < x <= 0.5 else 0.0


def _bilinear(x: float) -> float:
    return max(1.0 - abs(x), 0.0)


def _bicubic(x: float) -> float:
    """Catmull and Rom's: the cubic convolution of Keys with a = -0.5."""
    x = abs(x)
    if x < 1.0:
        return (1.5 * x - 2.5) * x * x + 1.0
    return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5 if x < 2.0 else 0.0


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3.0) if -3.0 <= x < 3.0 else 0.0


def _sinc(x: float) -> float:
    return math.sin(x * math.pi) / (x * math.pi) if x else 1.0


# By name: the weight of a pixel by its distance, and the distance from which it is 0.
PILLOW_FILTERS: dict[str, tuple[Callable[[float], float], float]] = {
    "bilinear": (_bilinear, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
    "area": (_area, 0.5),
}

LEGACY_BILINEAR = "legacy_bilinear"

RESIZES = (*PILLOW_FILTERS, LEGACY_BILINEAR)
