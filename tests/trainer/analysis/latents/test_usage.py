import math

import numpy as np
import pytest
import tensorflow as tf

from trainer.analysis.latents import usage


def test_active_units_are_those_whose_mean_moves() -> None:
    spread = np.array([0.0, 0.05, 0.2, 3.0])
    means = np.array([[-1.0], [1.0]]) * spread + 5.0
    assert usage.active_units(means) == 2
    assert usage.active_units(means, threshold=0.001) == 3


def test_active_units_need_two_examples() -> None:
    with pytest.raises(ValueError, match="n >= 2"):
        usage.active_units(np.zeros([1, 4]))


def test_aggregate_kl_of_one_shifted_gaussian_is_closed() -> None:
    means = np.tile([1.5, 0.0, -2.0], (4, 1))
    actual = usage.aggregate_kl(means, np.zeros([4, 3]), num_draws=40_000)
    assert actual == pytest.approx((1.5**2 + 2.0**2) / 2, abs=0.05)


def test_aggregate_kl_vanishes_where_posteriors_tile_the_prior() -> None:
    """Means of variance 3/4 and posteriors of variance 1/4 make N(0, 1)."""
    quantiles = (np.arange(1_000) + 0.5) / 1_000
    means = math.sqrt(0.75) * math.sqrt(2) * tf.math.erfinv(2 * quantiles - 1).numpy()
    log_vars = np.full([1_000, 1], math.log(0.25))
    actual = usage.aggregate_kl(means[:, None], log_vars, num_draws=2_000)
    assert actual == pytest.approx(0, abs=1e-3)


def test_aggregate_kl_of_separate_posteriors_is_their_mean_kl_minus_ln_n() -> None:
    means = 30 * np.eye(5)
    log_vars = np.full([5, 5], math.log(0.3))
    mean_kl = 0.5 * (30**2 + 5 * (0.3 - math.log(0.3) - 1))
    actual = usage.aggregate_kl(means, log_vars, num_draws=50_000)
    assert actual == pytest.approx(mean_kl - math.log(5), abs=0.3)


def test_aggregate_kl_does_not_depend_on_the_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(4)
    means, log_vars = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    whole = usage.aggregate_kl(means, log_vars, num_draws=101, seed=7)
    for pairs in (1, 500):
        monkeypatch.setattr(usage, "_PAIRS_PER_CHUNK", pairs)
        actual = usage.aggregate_kl(means, log_vars, num_draws=101, seed=7)
        assert actual == pytest.approx(whole, rel=1e-12)
    assert usage.aggregate_kl(means, log_vars, num_draws=101, seed=8) != whole


def test_aggregate_kl_refuses_what_it_cannot_average() -> None:
    with pytest.raises(ValueError, match=r"must both be \[n, d\]"):
        usage.aggregate_kl(np.zeros([3, 2]), np.zeros([3, 1]))
    with pytest.raises(ValueError, match="n >= 1"):
        usage.aggregate_kl(np.zeros([0, 2]), np.zeros([0, 2]))
    with pytest.raises(ValueError, match="num_draws=0 must be positive"):
        usage.aggregate_kl(np.zeros([3, 2]), np.zeros([3, 2]), num_draws=0)


def test_a_latent_at_the_threshold_is_not_active() -> None:
    means = np.array([[0.0, 0.0], [1.0, 1.25]])
    assert usage.active_units(means, threshold=0.25) == 1


def test_aggregate_kl_has_ten_thousand_draws_of_seed_0() -> None:
    rng = np.random.default_rng(0)
    means, log_vars = rng.normal(size=(2, 20, 3))
    default = usage.aggregate_kl(means, log_vars)
    assert default == usage.aggregate_kl(means, log_vars, num_draws=10_000, seed=0)
    for others in ({"num_draws": 9_999}, {"num_draws": 10_001}, {"seed": 1}):
        assert default != usage.aggregate_kl(means, log_vars, **others)
    assert np.isfinite(usage.aggregate_kl(means, log_vars, num_draws=1))
    with pytest.raises(ValueError, match="num_draws=0 must be positive"):
        usage.aggregate_kl(means, log_vars, num_draws=0)
