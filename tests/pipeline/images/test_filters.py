"""Weights of the filters, and where their pixels lie."""

import numpy as np
import pytest

from pipeline.images import filters


@pytest.mark.parametrize(
    ("name", "distances", "weights"),
    [
        # Half of a pixel's edge belongs to it.
        ("area", [-1, -0.5, -0.4, 0, 0.5, 0.6, 1], [0, 0, 1, 1, 1, 0, 0]),
        ("bilinear", [-1.5, -1, -0.25, 0, 0.5, 1, 1.5], [0, 0, 0.75, 1, 0.5, 0, 0]),
        ("bicubic", [-2.5, -1, 0, 0.5, 1, 1.5, 2.5], [0, 0, 1, 0.5625, 0, -0.0625, 0]),
        ("lanczos", [-3.5, 0, 3.5], [0, 1, 0]),
    ],
)
def test_a_weight_is_a_function_of_the_distance(
    name: str, distances: list[float], weights: list[float]
) -> None:
    weight_at, _ = filters.FILTERS[name]
    assert [weight_at(x) for x in distances] == pytest.approx(weights, abs=1e-15)


@pytest.mark.parametrize("name", filters.FILTERS)
@pytest.mark.parametrize(("num_in", "num_out"), [(13, 6), (4, 9), (178, 128), (3, 3)])
def test_taps_lie_in_the_line_and_share_a_whole(
    name: str, num_in: int, num_out: int
) -> None:
    starts, weights = filters.filter_weights(num_in, num_out, name)
    assert starts.shape == (num_out,)
    assert len(weights) == num_out
    assert starts.min() >= 0
    assert (starts + weights.shape[1]).max() == starts[-1] + weights.shape[1] == num_in
    # Each weight is rounded to the nearest unit.
    errors = weights.sum(axis=1) - 2**filters.FRACTION_BITS
    assert abs(errors).max() <= weights.shape[1] / 2


def test_weights_are_rounded_to_the_nearest() -> None:
    starts, weights = filters.filter_weights(3, 1, "area")
    assert starts.tolist() == [0]
    # A third of 2^22 is 1398101.33, and two thirds of it 2796202.67.
    assert weights.tolist() == [[1398101] * 3]
    _, weights = filters.filter_weights(2, 3, "bilinear")
    assert weights.tolist() == [[2**22, 0], [2**21, 2**21], [0, 2**22]]
    _, weights = filters.filter_weights(4, 3, "bicubic")
    # The distances are 1/8, 5/8 and 11/8.
    taps = np.array([987, 399, -75]) / 1024
    expected = np.rint(taps / taps.sum() * 2**22).tolist()
    assert weights[0].tolist() == [*expected, 0]


def test_weights_are_computed_once() -> None:
    first = filters.filter_weights(5, 3, "area")
    assert filters.filter_weights(5, 3, "area") is first
    assert filters.filter_weights(5, 3, "bilinear") is not first
