import math

import numpy as np
import pytest
import tensorflow as tf

from configs import celeba
from trainer.models import likelihoods
from trainer.models.vae import make_vae
from trainer.runs import setting_checks

RNG = np.random.default_rng(0)
IMAGES = tf.constant(RNG.uniform(-1, 1, (3, 2, 4, 3)), tf.float32)
MEANS = tf.constant(RNG.uniform(-1, 1, (3, 2, 4, 3)), tf.float32)
SEED = tf.constant([1, 2])


def test_bernoulli_is_minus_kerass_binary_cross_entropy() -> None:
    """The sum over values is the loss that is published as `binary_crossentropy`."""
    unit, logits = (IMAGES.numpy() + 1) / 2, 3 * MEANS.numpy()
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    log_prob = unit * np.log(p) + (1 - unit) * np.log1p(-p)
    actual = likelihoods.Bernoulli().log_likelihood(IMAGES, tf.constant(logits))
    np.testing.assert_allclose(actual, log_prob.reshape(3, -1).sum(1), rtol=1e-5)
    keras_mean = tf.keras.losses.binary_crossentropy(
        unit.reshape(3, -1), logits.reshape(3, -1), from_logits=True
    )
    np.testing.assert_allclose(actual, -24 * keras_mean, rtol=1e-5)
    assert actual.shape == (3,)


def test_a_gaussian_of_any_scale_is_the_normal_density() -> None:
    for stddev in (0.1, 1.0, 3.0):
        z = (IMAGES.numpy().astype(np.float64) - MEANS.numpy()) / stddev
        each = -0.5 * z**2 - math.log(stddev) - 0.5 * math.log(2 * math.pi)
        expected = each.reshape(3, -1).sum(1)
        fixed = likelihoods.Gaussian(stddev).log_likelihood(IMAGES, MEANS)
        np.testing.assert_allclose(fixed, expected, rtol=1e-5)
        outputs = tf.concat([MEANS, tf.fill(MEANS.shape, math.log(stddev))], axis=-1)
        scaled = likelihoods.ScaledGaussian(is_optimal=False)
        np.testing.assert_allclose(
            scaled.log_likelihood(IMAGES, outputs), expected, rtol=1e-5
        )
        np.testing.assert_array_equal(scaled.mean(outputs), MEANS)


ALL = (
    likelihoods.Bernoulli(),
    likelihoods.Gaussian(0.5),
    likelihoods.ScaledGaussian(is_optimal=True),
    likelihoods.ScaledGaussian(is_optimal=False),
    likelihoods.LogisticMixture(2),
)


def test_equal_settings_make_equal_likelihoods() -> None:
    assert likelihoods.Bernoulli() == likelihoods.Bernoulli()
    assert len(set(ALL)) == len(ALL)


@pytest.mark.parametrize("name", sorted(likelihoods.Likelihood.__abstractmethods__))
def test_a_likelihood_has_all_methods(name: str) -> None:
    methods = "num_outputs", "log_likelihood", "mean", "draw", "describe"
    assert name in methods
    assert len(methods) == len(likelihoods.Likelihood.__abstractmethods__)
    others = {other: getattr(ALL[0], other) for other in methods if other != name}
    incomplete = type("Incomplete", (likelihoods.Likelihood,), others)
    with pytest.raises(TypeError, match=name):
        incomplete()


@pytest.mark.parametrize(
    ("likelihood", "num_outputs", "text"),
    [
        (ALL[0], 3, "a Bernoulli likelihood (summed binary cross-entropy)"),
        (ALL[1], 3, "a Gaussian likelihood of standard deviation 0.5"),
        (
            ALL[2],
            6,
            "a Gaussian likelihood whose standard deviation is the optimum for each "
            "batch",
        ),
        (ALL[3], 6, "a Gaussian likelihood whose standard deviation is learnt"),
        (ALL[4], 14, "a discretised mixture of 2 logistics"),
    ],
    ids=str,
)
def test_a_likelihood_knows_its_outputs_and_its_name(
    likelihood: likelihoods.Likelihood, num_outputs: int, text: str
) -> None:
    assert likelihood.num_outputs(3) == num_outputs
    assert likelihood.describe() == text


# A Gaussian with a fixed deviation computes only in float32, too coarse for slopes.
@pytest.mark.parametrize("likelihood", [ALL[0], *ALL[2:]], ids=repr)
def test_gradients_are_the_slopes_of_the_log_likelihood(
    likelihood: likelihoods.Likelihood,
) -> None:
    rng = np.random.default_rng(4)
    images = tf.constant(np.rint(rng.uniform(0, 255, (2, 2, 1, 1))) / 127.5 - 1)
    size = likelihood.num_outputs(1)
    outputs = tf.constant(rng.normal(size=(2, 2, 1, size)) / 2)
    upstream = tf.constant([3.0, -0.5], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        weighted = upstream * likelihood.log_likelihood(images, outputs)
    gradients = tape.gradient(weighted, outputs)
    for at in np.ndindex(*outputs.shape):
        step = np.zeros(outputs.shape)
        step[at] = 1e-5
        above = likelihood.log_likelihood(images, outputs + step)
        below = likelihood.log_likelihood(images, outputs - step)
        slope = tf.reduce_sum(upstream * (above - below)) / 2e-5
        np.testing.assert_allclose(gradients[at], slope, rtol=1e-4, atol=1e-7)


def make_model(scale: str):
    config = celeba.get_config()
    config.encoder_filters = config.decoder_filters = (4, 4)
    config.objective, config.likelihood_scale = "elbo", scale
    config.likelihood_stddev = 0.5
    return make_vae(config, (16, 16, 3))


def test_a_learnt_scale_is_one_weight_with_a_gradient() -> None:
    vae = make_model("learned")
    scale = vae.decoder.get_layer(likelihoods.LOG_SCALE_LAYER).log_scale
    assert any(scale is variable for variable in vae.trainable_variables)
    assert float(scale) == pytest.approx(math.log(0.5))
    images = tf.constant(RNG.uniform(-1, 1, (2, 16, 16, 3)), tf.float32)
    with tf.GradientTape() as tape:
        outputs = vae.decoder(tf.zeros([2, 100]))
        loss = -tf.reduce_sum(vae.likelihood.log_likelihood(images, outputs))
    squared = np.sum((images - vae.likelihood.mean(outputs)) ** 2)
    # The derivative d/ds of squared / (2 e^2s) + n s.
    expected = 2 * 768 - squared / 0.25
    assert float(tape.gradient(loss, scale.value)) == pytest.approx(expected, rel=1e-4)


def test_the_optimal_scale_is_the_root_of_the_mean_squared_error() -> None:
    vae = make_model("optimal")
    scale = vae.decoder.get_layer(likelihoods.LOG_SCALE_LAYER).log_scale
    assert not any(scale is variable for variable in vae.trainable_variables)
    images = tf.constant(RNG.uniform(0, 1, (2, 16, 16, 3)), tf.float32)
    outputs = vae.decoder(tf.ones([2, 100])) + 0.1
    fitted = vae.likelihood.fit(images, outputs, vae.decoder)
    mean, log_stddev = np.split(fitted.numpy(), 2, axis=-1)
    np.testing.assert_array_equal(mean, vae.likelihood.mean(outputs))
    best = math.log(math.sqrt(np.mean((images - mean) ** 2)))
    np.testing.assert_allclose(log_stddev, np.full(mean.shape, best), rtol=1e-5)
    assert float(scale) == pytest.approx(0.99 * math.log(0.5) + 0.01 * best)
    # Every other scale is less likely.
    likely = tf.reduce_sum(vae.likelihood.log_likelihood(images, fitted))
    for other in (best - 0.05, best + 0.05):
        outputs = tf.concat([mean, np.full(mean.shape, other, np.float32)], axis=-1)
        assert tf.reduce_sum(vae.likelihood.log_likelihood(images, outputs)) < likely


def mixture_outputs(num: int, channels: int) -> tf.Tensor:
    shape = (1, 1, num, 2 * (1 + 2 * channels))
    return tf.constant(np.random.default_rng(3).normal(size=shape), tf.float32)


def test_probabilities_of_all_levels_add_up_to_one() -> None:
    mixture = likelihoods.LogisticMixture(2)
    levels = tf.constant(np.arange(256) / 127.5 - 1, tf.float32)
    outputs = mixture_outputs(1, channels=1)
    outputs = tf.repeat(outputs, 256, axis=0)
    log_p = mixture.log_likelihood(tf.reshape(levels, [256, 1, 1, 1]), outputs)
    assert np.exp(log_p.numpy().astype(np.float64)).sum() == pytest.approx(1, abs=1e-4)


def test_a_narrow_mixture_has_its_level_for_certain() -> None:
    mixture = likelihoods.LogisticMixture(1)
    for level in (0, 100, 255):
        value = level / 127.5 - 1
        outputs = tf.constant([0.0, value, -9.0], shape=[1, 1, 1, 3])
        image = tf.constant(value, shape=[1, 1, 1, 1])
        assert float(mixture.log_likelihood(image, outputs)[0]) == pytest.approx(
            0, abs=1e-4
        )
        far = tf.constant(-1.0 if level else 1.0, shape=[1, 1, 1, 1])
        assert np.isfinite(mixture.log_likelihood(far, outputs)[0])


def test_channels_share_the_component_of_a_pixel() -> None:
    mixture = likelihoods.LogisticMixture(2)
    # One component is black and one is white, in both channels.
    outputs = tf.constant([0, 0, -1, -1, 1, 1, -9, -9, -9, -9.0], shape=[1, 1, 1, 10])
    for pixel, expected in (((1, 1), 0.5), ((-1, -1), 0.5), ((1, -1), 0.0)):
        image = tf.constant(pixel, tf.float32, shape=[1, 1, 1, 2])
        actual = math.exp(float(mixture.log_likelihood(image, outputs)[0]))
        assert actual == pytest.approx(expected, abs=1e-4)
    np.testing.assert_allclose(mixture.mean(outputs).numpy().ravel(), [0, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("likelihood", "outputs", "tolerance"),
    [
        (likelihoods.Bernoulli(), tf.fill([1, 100, 100, 1], 0.8), 0.04),
        (likelihoods.Gaussian(0.3), tf.fill([1, 100, 100, 1], 0.8), 0.02),
        (
            likelihoods.ScaledGaussian(is_optimal=False),
            tf.tile(tf.constant([0.2, -1.0], shape=[1, 1, 1, 2]), [1, 100, 100, 1]),
            0.02,
        ),
        (
            likelihoods.LogisticMixture(2),
            tf.tile(
                tf.constant([0.5, 0, -0.3, 0.4, -4, -3], shape=[1, 1, 1, 6]),
                [1, 100, 100, 1],
            ),
            0.02,
        ),
    ],
)
def test_draws_have_the_mean_that_is_given(likelihood, outputs, tolerance) -> None:
    drawn = likelihood.draw(outputs, SEED).numpy()
    assert drawn.shape == (1, 100, 100, 1)
    expected = float(likelihood.mean(outputs)[0, 0, 0, 0])
    assert drawn.mean() == pytest.approx(expected, abs=tolerance)
    assert drawn.std() > 0.01
    np.testing.assert_array_equal(drawn, likelihood.draw(outputs, SEED))


def test_normal_draws_are_the_mean_and_the_noise_of_the_seed() -> None:
    noise = tf.random.stateless_normal(MEANS.shape, SEED, alg="philox").numpy()
    drawn = likelihoods.Gaussian(0.3).draw(MEANS, SEED)
    np.testing.assert_allclose(drawn, MEANS + 0.3 * noise, rtol=1e-5, atol=1e-6)
    outputs = tf.concat([MEANS, tf.fill(MEANS.shape, math.log(0.3))], axis=-1)
    scaled = likelihoods.ScaledGaussian(is_optimal=False).draw(outputs, SEED)
    np.testing.assert_allclose(scaled, drawn, rtol=1e-5, atol=1e-6)


def test_draws_of_a_mixture_have_its_shares_and_scales() -> None:
    shares, means, scales = [0.6, 0.3, 0.1], [-0.6, 0.0, 0.6], [0.02, 0.03, 0.04]
    pixel = tf.constant([*np.log(shares), *means, *np.log(scales)], tf.float32)
    outputs = tf.tile(tf.reshape(pixel, [1, 1, 1, 9]), [1, 100, 100, 1])
    drawn = likelihoods.LogisticMixture(3).draw(outputs, SEED).numpy().ravel()
    for share, mean, scale in zip(shares, means, scales, strict=True):
        near = drawn[abs(drawn - mean) < 0.3]
        assert len(near) / len(drawn) == pytest.approx(share, abs=0.01)
        # The standard deviation of a logistic is pi / sqrt(3) times its scale.
        assert near.std() == pytest.approx(scale * math.pi / math.sqrt(3), rel=0.1)


def test_levels_of_any_scale_have_the_probability_between_their_edges() -> None:
    log_scales = np.linspace(-7, 5, 60)
    levels = np.arange(80, 140)
    images = tf.constant(levels / 127.5 - 1, tf.float32, shape=[60, 1, 1, 1])
    outputs = np.stack([*np.full((2, 60), 0.0), *np.full((2, 60), -0.2)], axis=-1)
    outputs = np.concatenate([outputs, log_scales[:, None], log_scales[:, None]], -1)
    outputs = tf.constant(outputs.reshape(60, 1, 1, 6), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        actual = likelihoods.LogisticMixture(2).log_likelihood(images, outputs)
    offset = levels / 127.5 - 1 + 0.2
    low, high = ((offset + edge / 255) * np.exp(-log_scales) for edge in (-1, 1))
    # sigmoid(high) - sigmoid(low), without a difference of equal numbers.
    difference = -np.expm1(low - high)
    expected = np.log(difference) - np.log1p(np.exp(-high)) - np.log1p(np.exp(low))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=3e-5)
    assert np.isfinite(tape.gradient(actual, outputs)).all()


def test_a_scale_has_a_smallest_value() -> None:
    mixture = likelihoods.LogisticMixture(2)
    outputs = tf.constant([0, 0, 0, 0, -20, -30.0], shape=[1, 1, 1, 6])
    image = tf.constant(2 / 255, shape=[1, 1, 1, 1])
    # The level begins half a level, or 1 / 255, from the mean.
    actual = float(mixture.log_likelihood(image, outputs)[0])
    assert actual == pytest.approx(-math.exp(9) / 255, rel=1e-3)


@pytest.mark.parametrize("end", [-1, 1])
def test_a_mixture_beyond_the_levels_is_clipped(end: int) -> None:
    outputs = tf.constant([0, 0, 3 * end, 2 * end, -5, -5.0], shape=[1, 1, 1, 6])
    mixture = likelihoods.LogisticMixture(2)
    assert float(mixture.mean(outputs)[0, 0, 0, 0]) == end
    assert float(mixture.draw(outputs, SEED)[0, 0, 0, 0]) == end


def test_draws_of_levels_are_levels() -> None:
    drawn = likelihoods.LogisticMixture(2).draw(mixture_outputs(50, 3), SEED).numpy()
    levels = (drawn + 1) * 127.5
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
    assert drawn.shape == (1, 1, 50, 3)
    ones = likelihoods.Bernoulli().draw(MEANS, SEED).numpy()
    assert set(np.unique(ones)) == {-1, 1}


def test_shapes_that_differ_are_refused() -> None:
    for likelihood in ALL:
        outputs = tf.zeros([3, 1, 4, likelihood.num_outputs(3)])
        with pytest.raises(ValueError, match="differ in shape"):
            likelihood.log_likelihood(IMAGES, outputs)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("likelihood", "poisson", "must be one of bernoulli, gaussian, logistic"),
        ("likelihood_scale", "free", "must be one of fixed, learned, optimal"),
        ("likelihood_stddev", 0.0, "likelihood_stddev=0.0 must be positive"),
    ],
)
def test_settings_are_checked(name: str, value: object, message: str) -> None:
    config = celeba.get_config()
    config.objective = "elbo"
    config[name] = value
    with pytest.raises(ValueError, match=message):
        setting_checks.check(config)
    with pytest.raises(ValueError, match="num_mixtures=0 must be at least 1"):
        likelihoods.LogisticMixture(0)


def test_weights_of_the_squared_error_stand_for_a_deviation() -> None:
    config = celeba.get_config()
    created = likelihoods.make_likelihood(config, 49152)
    assert created == likelihoods.Gaussian(math.sqrt(0.005 * 49152 / 2))
    config.pixel_weight = 2.0
    created = likelihoods.make_likelihood(config, 49152)
    assert created == likelihoods.Gaussian(math.sqrt(0.0025 * 49152 / 2))
    config.objective = "elbo"
    fixed = likelihoods.Gaussian(config.likelihood_stddev)
    assert likelihoods.make_likelihood(config, 49152) == fixed
    config.update({"objective": "weighted_mse", "latent_weight": 0.0})
    assert likelihoods.make_likelihood(config, 49152) == fixed


@pytest.mark.parametrize("stddev", [0.0, -0.5, math.nan])
def test_a_deviation_is_positive(stddev: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        likelihoods.Gaussian(stddev)
