import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from trainer.optimization import losses

IMAGES = tf.constant(np.random.default_rng(0).uniform(-1, 1, (3, 4, 4, 3)), tf.float32)
OTHERS = tf.constant(np.random.default_rng(1).uniform(-1, 1, (3, 4, 4, 3)), tf.float32)
MEAN = tf.constant(np.random.default_rng(2).normal(size=(3, 5)), tf.float32)
LOG_VAR = tf.constant(np.random.default_rng(3).normal(size=(3, 5)), tf.float32)


def test_kl_of_the_prior_is_zero() -> None:
    zeros = tf.zeros([4, 7])
    np.testing.assert_array_equal(losses.gaussian_kl(zeros, zeros), np.zeros(4))


def test_kl_matches_an_integral() -> None:
    mean, log_var = 0.7, -0.4
    x = np.linspace(-12, 12, 200_001)
    q = np.exp(-((x - mean) ** 2) / (2 * math.exp(log_var)))
    q /= math.sqrt(2 * math.pi * math.exp(log_var))
    log_q = -((x - mean) ** 2) / (2 * math.exp(log_var)) - 0.5 * (
        math.log(2 * math.pi) + log_var
    )
    log_p = -(x**2) / 2 - 0.5 * math.log(2 * math.pi)
    expected = float(np.trapezoid(q * (log_q - log_p), x))
    actual = losses.gaussian_kl(tf.constant([[mean]]), tf.constant([[log_var]]))
    np.testing.assert_allclose(actual, [expected], rtol=1e-5)


@pytest.mark.parametrize("log_var", [-14.0, -6.0, 6.0, 14.0])
def test_kl_holds_for_any_variance(log_var: float) -> None:
    stddev = math.exp(log_var / 2)
    posterior = stats.norm(1.5, stddev)
    # Minus the entropy of the posterior, minus its mean log density under the prior.
    expected = -posterior.entropy() - posterior.expect(
        stats.norm.logpdf, lb=1.5 - 12 * stddev, ub=1.5 + 12 * stddev
    )
    actual = losses.gaussian_kl(tf.constant([[1.5]]), tf.constant([[log_var]]))
    np.testing.assert_allclose(actual, [expected], rtol=1e-5)


def test_kl_refuses_shapes_that_differ() -> None:
    with pytest.raises(ValueError, match=r"\[batch, latent_dim\]"):
        losses.gaussian_kl(tf.zeros([2, 3]), tf.zeros([2, 4]))
    with pytest.raises(ValueError, match=r"\[batch, latent_dim\]"):
        losses.gaussian_kl(tf.zeros([2]), tf.zeros([2]))


def test_squared_error_is_summed_per_example() -> None:
    expected = ((IMAGES.numpy() - OTHERS.numpy()) ** 2).reshape(3, -1).sum(1)
    np.testing.assert_allclose(
        losses.squared_error(IMAGES, OTHERS), expected, rtol=1e-6
    )
    with pytest.raises(ValueError, match="differ in shape"):
        losses.squared_error(IMAGES, OTHERS[:, :2])


def test_normal_density_is_scipys() -> None:
    mean, stddev = MEAN.numpy(), np.exp(LOG_VAR.numpy() / 2)
    z = np.random.default_rng(4).normal(size=(3, 5)).astype(np.float32)
    actual = losses.normal_log_density(z, MEAN, LOG_VAR)
    expected = stats.norm.logpdf(z, mean, stddev).sum(axis=1)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    prior = losses.normal_log_density(tf.constant(z), 0.0, 0.0)
    expected = stats.norm.logpdf(z).sum(axis=1)
    np.testing.assert_allclose(prior, expected, rtol=1e-5)
