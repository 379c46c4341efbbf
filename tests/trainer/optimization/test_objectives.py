import math

import numpy as np
import pytest
import tensorflow as tf

from configs import celeba, mnist_hafner
from trainer.models import likelihoods
from trainer.optimization import losses, objectives
from trainer.runs import setting_checks

RNG = np.random.default_rng(0)
IMAGES = tf.constant(RNG.uniform(-1, 1, (3, 4, 4, 3)), tf.float32)
OTHERS = tf.constant(RNG.uniform(-1, 1, (3, 4, 4, 3)), tf.float32)
MEAN = tf.constant(RNG.normal(size=(3, 5)), tf.float32)
LOG_VAR = tf.constant(RNG.normal(size=(3, 5)), tf.float32)
POSTERIOR = objectives.Posterior(MEAN, LOG_VAR, MEAN)
GAUSSIAN = likelihoods.Gaussian(0.5)


def elbo_objective(**changes) -> objectives.ElboObjective:
    values = {
        "likelihood": GAUSSIAN,
        "beta": 1.0,
        "warmup_steps": 0,
        "free_bits": 0.0,
        "num_samples": 1,
        "num_values": 48,
    }
    return objectives.ElboObjective(**{**values, **changes})


def test_objective_is_the_published_formula() -> None:
    objective = objectives.MeanSquaredErrorObjective(1.0, 0.005, 48)
    terms = objective.terms(IMAGES, OTHERS, POSTERIOR, 0)
    pixel = np.mean((IMAGES.numpy() - OTHERS.numpy()) ** 2)
    mean, log_var = MEAN.numpy(), LOG_VAR.numpy()
    latent = 0.5 * np.mean(np.sum(mean**2 + np.exp(log_var) - log_var - 1, axis=1))
    np.testing.assert_allclose(np.mean(terms["pixel_loss"]), pixel, rtol=1e-6)
    np.testing.assert_allclose(np.mean(terms["latent_loss"]), 0.005 * latent, rtol=1e-6)
    np.testing.assert_allclose(
        np.mean(terms["loss"]), pixel + 0.005 * latent, rtol=1e-6
    )


def test_objective_is_the_elbo_of_its_gaussian_up_to_scale_and_constant() -> None:
    objective = objectives.MeanSquaredErrorObjective(2.0, 0.01, 48)
    terms = objective.terms(IMAGES, OTHERS, POSTERIOR, 0)
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
    objective = objectives.MeanSquaredErrorObjective(1.0, 0.0, 48)
    with tf.GradientTape() as tape:
        tape.watch([MEAN, LOG_VAR])
        posterior = objectives.Posterior(MEAN, LOG_VAR, MEAN)
        terms = objective.terms(IMAGES, OTHERS, posterior, 0)
        loss = tf.reduce_mean(terms["loss"])
    np.testing.assert_array_equal(terms["loss"], terms["pixel_loss"])
    for gradient in tape.gradient(loss, [MEAN, LOG_VAR]):
        np.testing.assert_array_equal(gradient, np.zeros([3, 5]))
    assert "plain autoencoder" in objective.describe()
    assert objective.variance == 1.0


def test_the_flagship_is_described_with_its_variance() -> None:
    text = objectives.MeanSquaredErrorObjective(1.0, 0.005, 128 * 128 * 3).describe()
    assert "beta = 122.9" in text


def test_weights_are_checked() -> None:
    with pytest.raises(ValueError, match="pixel_weight=0 must be positive"):
        objectives.MeanSquaredErrorObjective(0, 1, 48)
    with pytest.raises(ValueError, match="latent_weight=-1 must not be negative"):
        objectives.MeanSquaredErrorObjective(1, -1, 48)


def test_the_elbo_is_its_two_terms() -> None:
    terms = elbo_objective().terms(IMAGES, OTHERS, POSTERIOR, 0)
    log_likelihood = GAUSSIAN.log_likelihood(IMAGES, OTHERS).numpy()
    kl = losses.gaussian_kl(MEAN, LOG_VAR).numpy()
    np.testing.assert_allclose(terms["elbo"], log_likelihood - kl, rtol=1e-6)
    np.testing.assert_allclose(terms["loss"], kl - log_likelihood, rtol=1e-6)
    np.testing.assert_allclose(terms["recon_nll"], -log_likelihood, rtol=1e-6)
    np.testing.assert_allclose(terms["kl"], kl, rtol=1e-6)


def test_mean_and_variance_are_averaged_over_the_latents() -> None:
    for objective in (
        elbo_objective(),
        objectives.MeanSquaredErrorObjective(1.0, 0.005, 48),
    ):
        terms = objective.terms(IMAGES, OTHERS, POSTERIOR, 0)
        mean, variance = MEAN.numpy().mean(1), np.exp(LOG_VAR.numpy()).mean(1)
        np.testing.assert_allclose(terms["latents/mean"], mean, rtol=1e-5)
        np.testing.assert_allclose(terms["latents/variance"], variance, rtol=1e-5)


def test_the_mean_squared_error_needs_one_draw() -> None:
    assert objectives.MeanSquaredErrorObjective(1.0, 0.005, 48).num_samples == 1


def test_beta_weighs_the_divergence_in_the_loss_alone() -> None:
    plain = elbo_objective().terms(IMAGES, OTHERS, POSTERIOR, 0)
    weighted = elbo_objective(beta=4.0).terms(IMAGES, OTHERS, POSTERIOR, 0)
    np.testing.assert_array_equal(weighted["elbo"], plain["elbo"])
    np.testing.assert_allclose(
        weighted["loss"] - plain["loss"], 3 * plain["kl"], rtol=1e-4
    )


@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (5, 0.5), (10, 1.0), (99, 1.0)])
def test_the_weight_warms_up(step: int, share: float) -> None:
    objective = elbo_objective(beta=2.0, warmup_steps=10)
    terms = objective.terms(IMAGES, OTHERS, POSTERIOR, tf.constant(step, tf.int64))
    expected = terms["recon_nll"] + 2 * share * terms["kl"]
    np.testing.assert_allclose(terms["loss"], expected, rtol=1e-6)


def test_free_bits_charge_a_latent_by_its_mean_over_the_batch() -> None:
    log_var = tf.zeros([2, 2])
    mean = tf.constant([[2.0, 0.5], [4.0, 0.5]])
    # The first latent has 2 and 8 nats, 5 on average; the second has 0.125 and 0.125.
    posterior = objectives.Posterior(mean, log_var, mean)
    with tf.GradientTape() as tape:
        tape.watch(mean)
        posterior = objectives.Posterior(mean, log_var, mean)
        terms = elbo_objective(free_bits=3.0).terms(
            IMAGES[:2], OTHERS[:2], posterior, 0
        )
        loss = tf.reduce_sum(terms["loss"])
    charged = terms["loss"] - terms["recon_nll"]
    np.testing.assert_allclose(charged, [2 + 3, 8 + 3], rtol=1e-5)
    np.testing.assert_allclose(terms["kl"], [2.125, 8.125], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(loss, mean), [[2, 0], [4, 0]], rtol=1e-6)


def test_free_bits_count_all_examples() -> None:
    # The latents have 1, 2 and 6 nats, and 0.5, 0 and 0.5; the means are 3 and 1/3.
    mean = tf.sqrt(tf.constant([[2.0, 1.0], [4.0, 0.0], [12.0, 1.0]]))
    posterior = objectives.Posterior(mean, tf.zeros([3, 2]), mean)
    for free_bits, expected in [
        (0.3, [1.5, 2.0, 6.5]),
        (0.4, [1.4, 2.4, 6.4]),
        (2.9, [3.9, 4.9, 8.9]),
        (3.1, [6.2, 6.2, 6.2]),
    ]:
        objective = elbo_objective(free_bits=free_bits)
        terms = objective.terms(IMAGES, OTHERS, posterior, 0)
        charged = terms["loss"] - terms["recon_nll"]
        np.testing.assert_allclose(charged, expected, rtol=1e-5)


def test_a_latent_with_as_many_nats_as_are_free_is_not_charged() -> None:
    mean = tf.fill([3, 1], 2.0)
    with tf.GradientTape() as tape:
        tape.watch(mean)
        posterior = objectives.Posterior(mean, tf.zeros([3, 1]), mean)
        objective = elbo_objective(free_bits=2.0)
        loss = objective.terms(IMAGES, OTHERS, posterior, 0)["loss"]
    np.testing.assert_array_equal(tape.gradient(loss, mean), np.zeros([3, 1]))


@pytest.mark.parametrize("k", [2, 4])
def test_many_samples_give_the_importance_weighted_bound(k: int) -> None:
    noise = np.random.default_rng(1).normal(size=(3 * k, 5))
    deviation = np.exp(LOG_VAR.numpy() / 2)
    z = np.repeat(MEAN, k, axis=0) + np.repeat(deviation, k, axis=0) * noise
    outputs = np.random.default_rng(2).uniform(-1, 1, (3 * k, 4, 4, 3))
    posterior = objectives.Posterior(MEAN, LOG_VAR, tf.constant(z, tf.float32))
    terms = elbo_objective(num_samples=k).terms(
        IMAGES, tf.constant(outputs, tf.float32), posterior, 0
    )
    squared = ((np.repeat(IMAGES, k, axis=0) - outputs) ** 2).reshape(3 * k, -1)
    log_p_x = -squared.sum(1) / (2 * 0.25) - 24 * math.log(2 * math.pi * 0.25)
    log_p_z = -(z**2).sum(1) / 2 - 2.5 * math.log(2 * math.pi)
    log_q = -(noise**2).sum(1) / 2 - 2.5 * math.log(2 * math.pi)
    log_q -= np.repeat(LOG_VAR.numpy().sum(1) / 2, k)
    log_weights = (log_p_x + log_p_z - log_q).reshape(3, k)
    peak = log_weights.max(1, keepdims=True)
    bound = np.log(np.exp(log_weights - peak).mean(1)) + peak[:, 0]
    np.testing.assert_allclose(terms["loss"], -bound, rtol=1e-4)
    np.testing.assert_allclose(terms["recon_nll"], -log_p_x.reshape(3, k).mean(1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta": -1.0}, "^config.beta=-1.0 must not be negative"),
        ({"warmup_steps": -1}, "^config.kl_warmup_steps=-1 must not be negative"),
        ({"free_bits": -0.1}, "^config.free_bits=-0.1 must not be negative"),
        ({"num_samples": 0}, "^config.num_importance_samples=0 must be at least 1"),
        ({"num_samples": 5, "beta": 2.0}, "it needs config.beta=1"),
        ({"num_samples": 2, "warmup_steps": 1}, "config.kl_warmup_steps=0 and"),
        ({"num_samples": 2, "free_bits": 0.1}, "and config.free_bits=0"),
    ],
)
def test_settings_of_the_bound_are_checked(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        elbo_objective(**changes)


def test_the_loss_is_described_with_all_that_changes_it() -> None:
    text = elbo_objective(beta=4.0, warmup_steps=10, free_bits=0.5).describe()
    assert (
        "4 * KL (the weight of KL grows from 0 over 10 steps) above 0.5 free nats"
        in text
    )
    # The weight of the KL is 2 * 4 * 0.25 / 48.
    assert "mean squared error + 0.04167 * KL" in text
    for number in (2, 5):
        text = elbo_objective(num_samples=number).describe()
        assert text.startswith(
            f"loss = minus the importance-weighted bound with {number} importance "
            "samples, with"
        )
        assert "mean squared error" not in text
    text = elbo_objective(likelihood=likelihoods.Bernoulli()).describe()
    assert "mean squared error" not in text


def test_the_config_decides() -> None:
    objective = objectives.make_objective(celeba.get_config(), 49152)
    assert objective == objectives.MeanSquaredErrorObjective(1.0, 0.005, 49152)
    objective = objectives.make_objective(mnist_hafner.get_config(), 784)
    assert objective == elbo_objective(
        likelihood=likelihoods.Bernoulli(), num_values=784
    )


def test_objectives_that_do_not_fit_are_refused() -> None:
    config = celeba.get_config()
    config.likelihood = "bernoulli"
    with pytest.raises(ValueError, match="set config.objective=elbo"):
        objectives.make_objective(config, 48)
    config.objective = "gan"
    with pytest.raises(ValueError, match="'gan' must be one of weighted_mse, elbo"):
        setting_checks.check(config)
