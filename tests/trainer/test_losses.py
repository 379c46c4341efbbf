import math

import numpy as np
import pytest
import tensorflow as tf

from trainer import losses

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
    found = losses.gaussian_kl(tf.constant([[mean]]), tf.constant([[log_var]]))
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


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
    with pytest.raises(ValueError, match="differ"):
        losses.squared_error(IMAGES, OTHERS[:, :2])


def test_objective_is_the_published_formula() -> None:
    objective = losses.MeanSquaredErrorObjective(1.0, 0.005, 48)
    terms = objective.terms(IMAGES, OTHERS, MEAN, LOG_VAR)
    pixel = np.mean((IMAGES.numpy() - OTHERS.numpy()) ** 2)
    mean, log_var = MEAN.numpy(), LOG_VAR.numpy()
    latent = 0.5 * np.mean(np.sum(mean**2 + np.exp(log_var) - log_var - 1, axis=1))
    np.testing.assert_allclose(np.mean(terms["pixel_loss"]), pixel, rtol=1e-6)
    np.testing.assert_allclose(np.mean(terms["latent_loss"]), 0.005 * latent, rtol=1e-6)
    np.testing.assert_allclose(
        np.mean(terms["loss"]), pixel + 0.005 * latent, rtol=1e-6
    )


def test_objective_is_the_elbo_of_its_gaussian_up_to_scale_and_constant() -> None:
    objective = losses.MeanSquaredErrorObjective(2.0, 0.01, 48)
    terms = objective.terms(IMAGES, OTHERS, MEAN, LOG_VAR)
    assert objective.variance == pytest.approx(0.01 / 2.0 * 48 / 2)
    # loss = pixel_weight * 2 * variance / D * (-elbo - constant)
    constant = 24 * math.log(2 * math.pi * objective.variance)
    scale = 2.0 * 2 * objective.variance / 48
    np.testing.assert_allclose(
        terms["loss"], scale * (-terms["elbo"] - constant), rtol=1e-5
    )
    np.testing.assert_allclose(
        terms["elbo"], -(terms["recon_nll"] + terms["kl"]), rtol=1e-6
    )


def test_without_a_latent_weight_it_is_a_plain_autoencoder() -> None:
    objective = losses.MeanSquaredErrorObjective(1.0, 0.0, 48)
    with tf.GradientTape() as tape:
        tape.watch([MEAN, LOG_VAR])
        terms = objective.terms(IMAGES, OTHERS, MEAN, LOG_VAR)
        loss = tf.reduce_mean(terms["loss"])
    np.testing.assert_array_equal(terms["loss"], terms["pixel_loss"])
    for gradient in tape.gradient(loss, [MEAN, LOG_VAR]):
        np.testing.assert_array_equal(gradient, np.zeros([3, 5]))
    assert "plain autoencoder" in objective.describe()
    assert objective.variance == 1.0


def test_the_flagship_is_described_with_its_variance() -> None:
    text = losses.MeanSquaredErrorObjective(1.0, 0.005, 128 * 128 * 3).describe()
    assert "beta = 122.9" in text


def test_weights_are_checked() -> None:
    with pytest.raises(ValueError, match="pixel_weight=0 must be positive"):
        losses.MeanSquaredErrorObjective(0, 1, 48)
    with pytest.raises(ValueError, match="latent_weight=-1 must not be negative"):
        losses.MeanSquaredErrorObjective(1, -1, 48)
