"""The loops sum integer weights, row by row and then column by column."""

import numba
import numpy as np
import pytest

from pipeline.images import filters, resize_loops


def by_hand(image: np.ndarray, starts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the image with its columns resized, `[side, size, channels]` uint8."""
    padded = np.pad(image.astype(np.int64), [(0, 0), (0, weights.shape[1]), (0, 0)])
    lines = [
        np.tensordot(line, padded[:, start : start + len(line)], axes=(0, 1))
        for start, line in zip(starts, weights.astype(np.int64), strict=True)
    ]
    sums = np.stack(lines, axis=1)
    levels = (sums + 2 ** (filters.FRACTION_BITS - 1)) >> filters.FRACTION_BITS
    return np.clip(levels, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("num_channels", [2, 3])
@pytest.mark.parametrize(("side", "size"), [(13, 6), (4, 9)])
def test_rows_and_columns_are_sums_of_weights(
    side: int, size: int, num_channels: int
) -> None:
    rng = np.random.default_rng(side)
    image = rng.integers(0, 256, (side, side, num_channels), np.uint8)
    # At an edge of black and white, the filter reaches beyond both ends of the levels.
    image[: side // 2 + 1] = np.where(np.arange(side) < side // 2, 0, 255)[:, None]
    starts, weights = filters.filter_weights(side, size, "bicubic")
    values = rng.permutation(256).astype(np.uint16)
    resized = np.empty((size, size * num_channels), np.uint16)
    loops = resize_loops.loops(weights.shape[1], num_channels)
    loops(image.reshape(side, -1), starts, weights, values, resized)
    narrow = by_hand(image, starts, weights)
    expected = by_hand(narrow.swapaxes(0, 1), starts, weights).swapaxes(0, 1)
    assert {0, 255} <= set(expected.ravel())
    np.testing.assert_array_equal(resized, values[expected].reshape(size, -1))


def test_loops_are_made_once_for_a_number_of_taps() -> None:
    assert resize_loops.loops(4, 3) is resize_loops.loops(4, 3)
    assert resize_loops.loops(4, 3) is not resize_loops.loops(4, 1)


@pytest.mark.parametrize("num_channels", [2, 3])
def test_no_loop_leaves_its_arrays(
    num_channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled code checks no index, and would read or write any memory."""
    monkeypatch.setattr(numba.config, "BOUNDSCHECK", 1)
    compile_now = numba.njit

    def compile_anew(function, *, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function")
        return compile_now(function, **options)

    monkeypatch.setattr(numba, "njit", compile_anew)
    rng = np.random.default_rng(0)
    for side, size in ((13, 6), (4, 9)):
        starts, weights = filters.filter_weights(side, size, "bicubic")
        loops = resize_loops.loops.__wrapped__(weights.shape[1], num_channels)
        rows = rng.integers(0, 256, (side, side * num_channels), np.uint8)
        resized = np.empty((size, size * num_channels), np.uint8)
        loops(rows, starts, weights, np.arange(256, dtype=np.uint8), resized)
    beyond = starts + 1
    with pytest.raises(IndexError):
        loops(rows, beyond, weights, np.arange(256, dtype=np.uint8), resized)


def test_compiled_code_is_kept_and_lets_other_threads_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compile_now, asked = numba.njit, []

    def compile_and_note(function, **options):
        asked.append(options)
        return compile_now(function, **options)

    monkeypatch.setattr(numba, "njit", compile_and_note)
    resize_loops.loops.__wrapped__(4, 3)
    # Each of the two functions has a copy without a cache, for a disk that is full.
    assert asked == 2 * [{"nogil": True}, {"nogil": True, "cache": True}]
