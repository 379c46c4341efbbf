"""The loops of the resize, compiled by Numba; see `resizing`.

The loops have their own module because importing Numba takes as long as preparing
hundreds of images.
"""

import functools
import pickle
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.core import config

from pipeline.images.filters import FRACTION_BITS

# Lets the compiler compute the four sums of `resize_rgb_rows` as one vector.
config.SLP_VECTORIZE = 1

_HALF = np.int32(1 << (FRACTION_BITS - 1))
_1, _2, _3 = map(numba.uintp, (1, 2, 3))


@numba.njit(inline="always")
def _plus_product(total: np.int32, weight: np.int32, pixel: np.int32) -> np.int32:
    # Without the casts Numba would widen integers to 64 bits, and a vector would hold
    # half as many.
    return np.int32(total + np.int32(weight * np.int32(pixel)))


@numba.njit(inline="always")
def _rounded(total: np.int32) -> np.int32:
    pixel = np.int32(total >> np.int32(FRACTION_BITS))
    return min(max(pixel, np.int32(0)), np.int32(255))


@functools.cache
def loops(num_taps: int, num_channels: int) -> Callable[..., None]:
    """Returns a resize function for filters of `num_taps` pixels, with unrolled loops.

    Args:
        num_taps: Number of weights per output pixel.
        num_channels: Number of channels of the image.

    Returns:
        A function of `rows`, `[side, side * num_channels]` uint8; `starts` and
        `weights` of `filters.filter_weights`; `values`, `[256]`; and `resized`,
        `[size, size * num_channels]`. It writes the result to `resized`.
    """

    def resize_rows(
        rows: np.ndarray, starts: np.ndarray, weights: np.ndarray, narrow: np.ndarray
    ) -> None:
        size = len(starts)
        sums = np.empty((size, num_channels), np.int32)
        flat_sums = sums.ravel()
        for y in range(len(rows)):
            row = rows[y]
            for x in range(size):
                # An unsigned index avoids the check for a negative index.
                start = numba.uintp(starts[x] * num_channels)
                for channel in range(num_channels):
                    total = _HALF
                    for tap in range(num_taps):
                        pixel = row[start + numba.uintp(tap * num_channels + channel)]
                        total = _plus_product(total, weights[x, tap], pixel)
                    sums[x, channel] = total
            for place in range(narrow.shape[1]):
                narrow[y, place] = _rounded(flat_sums[place])

    def resize_rgb_rows(
        rows: np.ndarray, starts: np.ndarray, weights: np.ndarray, narrow: np.ndarray
    ) -> None:
        # Four sums fill a vector, and three do not. The fourth sum takes the red of the
        # next input pixels, and the next output pixel overwrites it. The taps of the
        # last output pixel end with the row, so that pixel is not among the inner ones.
        size = len(starts)
        sums = np.empty(3 * size, np.int32)
        num_inner = np.count_nonzero(starts < rows.shape[1] // 3 - num_taps)
        for y in range(len(rows)):
            row = rows[y]
            for x in range(num_inner):
                start = numba.uintp(starts[x] * 3)
                red = green = blue = beyond = _HALF
                for tap in range(num_taps):
                    place, weight = start + numba.uintp(tap * 3), weights[x, tap]
                    red = _plus_product(red, weight, row[place])
                    green = _plus_product(green, weight, row[place + _1])
                    blue = _plus_product(blue, weight, row[place + _2])
                    beyond = _plus_product(beyond, weight, row[place + _3])
                place = numba.uintp(x * 3)
                sums[place] = red
                sums[place + _1] = green
                sums[place + _2] = blue
                sums[place + _3] = beyond
            # The remaining output pixels have no next input pixel in the row.
            for x in range(num_inner, size):
                for channel in range(3):
                    total = _HALF
                    for tap in range(num_taps):
                        pixel = row[(starts[x] + tap) * 3 + channel]
                        total = _plus_product(total, weights[x, tap], pixel)
                    sums[x * 3 + channel] = total
            for place in range(narrow.shape[1]):
                narrow[y, place] = _rounded(sums[place])

    def resize_columns(
        narrow: np.ndarray,
        starts: np.ndarray,
        weights: np.ndarray,
        values: np.ndarray,
        resized: np.ndarray,
    ) -> None:
        num_values = narrow.shape[1]
        line = np.empty(num_values, np.uint8)
        for y in range(len(starts)):
            start = numba.uintp(starts[y])
            for place in range(num_values):
                total = _HALF
                for tap in range(num_taps):
                    pixel = narrow[start + numba.uintp(tap), place]
                    total = _plus_product(total, weights[y, tap], pixel)
                line[place] = _rounded(total)
            for place in range(num_values):
                resized[y, place] = values[line[place]]

    # Two separate functions vectorize better than one.
    compiled_rows = _compiled(resize_rgb_rows if num_channels == 3 else resize_rows)
    compiled_columns = _compiled(resize_columns)

    def resize(
        rows: np.ndarray,
        starts: np.ndarray,
        weights: np.ndarray,
        values: np.ndarray,
        resized: np.ndarray,
    ) -> None:
        narrow = np.empty((len(rows), len(starts) * num_channels), np.uint8)
        compiled_rows(rows, starts, weights, narrow)
        compiled_columns(narrow, starts, weights, values, resized)

    return resize


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    uncached = numba.njit(function, nogil=True)
    try:
        compiled = numba.njit(function, nogil=True, cache=True)
    # Neither the package's nor the user's cache directory is writable.
    except RuntimeError:
        return uncached

    def call(*arguments: Any) -> None:
        nonlocal compiled
        try:
            compiled(*arguments)
        # The cache is damaged, or its disk is full.
        except (OSError, EOFError, pickle.UnpicklingError):
            compiled = uncached
            compiled(*arguments)

    return call
