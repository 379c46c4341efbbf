"""The moving average of the weights against its closed form."""

import numpy as np
import pytest

from tests.trainer.small_steps import make_small_run

NUM_STEPS = 5


# The smaller decay is the limit after the first step; the larger decay limits nothing.
@pytest.mark.parametrize("largest", [0.15, 0.9995])
def test_the_average_is_a_weighted_sum_of_the_weights_of_all_steps(
    largest: float,
) -> None:
    run = make_small_run(ema_decay=largest, learning_rate=0.01)
    states = [run.arrays()]
    for _ in range(NUM_STEPS):
        run.train(1)
        states.append(run.arrays())
    decays = [min(largest, (1 + n) / (10 + n)) for n in range(NUM_STEPS)]
    # The weights after step n enter with 1 - decay, and fade with each later decay.
    shares = [np.prod(decays)] + [
        (1 - decay) * np.prod(decays[n + 1 :]) for n, decay in enumerate(decays)
    ]
    assert sum(shares) == pytest.approx(1)
    names = [name for name in states[0] if name.startswith("vae/")]
    assert any("moving_mean" in name for name in names)
    assert any("moving_variance" in name for name in names)
    for name in names:
        values = [state[name].astype(np.float64) for state in states]
        expected = sum(
            share * value for share, value in zip(shares, values, strict=True)
        )
        actual = states[-1][f"ema_{name}"]
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7, err_msg=name)
        # The average is none of the weights that the steps had.
        assert all((actual != state[name]).any() for state in states), name
