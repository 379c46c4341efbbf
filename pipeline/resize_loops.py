"""The loops of the resize, compiled by Numba; see `resizing`.

A module of its own, since Numba's import takes as long as hundreds of images.
"""

import functools
from collections.abc import Callable

import numba
import numpy as np

from pipeline.resizing import FRACTION_BITS

_HALF = np.int32(1 << (FRACTION_BITS - 1))


@functools.cache
def loops(num_taps: int, num_channels: int) -> Callable[..., None]:
    """Returns the resize for filters of `num_taps` pixels, with its loops unrolled.

    Args:
        num_taps: Of the weights.
        num_channels: Of the image.

    Returns:
        A function of `rows`, `[side, side * num_channels]` uint8; `starts` and
        `weights` of `resizing.filter_weights`; `values`, `[256]`; and `resized`,
        `[size, size * num_channels]`, which it fills.
    """

    def resize_rows_and_columns(
        rows: np.ndarray,
        starts: np.ndarray,
        weights: np.ndarray,
        values: np.ndarray,
        resized: np.ndarray,
    ) -> None:
        size = starts.shape[0]
        num_values = size * num_channels
        narrow = np.empty((rows.shape[0], num_values), np.uint8)
        sums = np.empty((size, num_channels), np.int32)
        flat_sums = sums.reshape(-1)
        for y in range(rows.shape[0]):
            row = rows[y]
            for x in range(size):
                # An index without a sign is not checked for counting from the end.
                start = numba.uintp(starts[x] * num_channels)
                for channel in range(num_channels):
                    total = _HALF
                    for tap in range(num_taps):
                        place = start + numba.uintp(tap * num_channels + channel)
                        total += weights[x, tap] * np.int32(row[place])
                    sums[x, channel] = total
            for place in range(num_values):
                narrow[y, place] = min(max(flat_sums[place] >> FRACTION_BITS, 0), 255)
        line = np.empty(num_values, np.uint8)
        for y in range(size):
            start = numba.uintp(starts[y])
            for place in range(num_values):
                total = _HALF
                for tap in range(num_taps):
                    pixel = narrow[start + numba.uintp(tap), place]
                    total += weights[y, tap] * np.int32(pixel)
                line[place] = min(max(total >> FRACTION_BITS, 0), 255)
            for place in range(num_values):
                resized[y, place] = values[line[place]]

    try:
        return numba.njit(resize_rows_and_columns, nogil=True, cache=True)
    except (
        RuntimeError
    ):  # Neither the package's nor the user's directory can be written.
        return numba.njit(resize_rows_and_columns, nogil=True)
