"""Pillow's resize filters: which input pixels contribute to each output pixel.

The weights are integers, as in Pillow for 8-bit images.
"""

import functools
import math
from collections.abc import Callable

import numpy as np

# Number of fraction bits of a weight: every weight is a multiple of 2^-22.
FRACTION_BITS = 22


@functools.lru_cache(maxsize=64)
def filter_weights(
    num_in: int, num_out: int, filter_name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the weights of a line's pixels in each pixel of the resized line.

    Args:
        num_in: Number of pixels in the line.
        num_out: Number of pixels in the resized line.
        filter_name: Name of a filter, one of `FILTERS`.

    Returns:
        `[num_out]`, the first contributing input pixel of each output pixel, and
        `[num_out, num_taps]`, the weights of the contributing pixels in units of
        2^-22. Both are int32.

    Source:
        Pillow, src/libImaging/Resample.c.
    """
    weight_at, radius = FILTERS[filter_name]
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
        # Near the end of the line the first taps have weight 0.
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
    """Catmull-Rom filter: the cubic convolution of Keys with a = -0.5."""
    x = abs(x)
    if x < 1.0:
        return (1.5 * x - 2.5) * x * x + 1.0
    return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5 if x < 2.0 else 0.0


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3.0) if -3.0 <= x < 3.0 else 0.0


def _sinc(x: float) -> float:
    return math.sin(x * math.pi) / (x * math.pi) if x else 1.0


# Filter name -> (weight of a pixel as a function of its distance, filter radius).
FILTERS: dict[str, tuple[Callable[[float], float], float]] = {
    "bilinear": (_bilinear, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
    "area": (_area, 0.5),
}
