import importlib
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import celeba_debug, celeba_sharp, mnist_m2, mnist_mlss
from trainer.models.vae import VAE, make_vae
from trainer.serving import plain_keras

ROOT = pathlib.Path(__file__).parents[3]
NAMES = sorted(
    path.stem for path in (ROOT / "configs").glob("*.py") if path.stem != "__init__"
)
RNG = np.random.default_rng(0)


def perturbed_vae(config, shape: tuple[int, ...], num_conditions: int = 0) -> VAE:
    """Returns a VAE with every weight and statistic changed, as training would."""
    vae = make_vae(config, shape, num_conditions)
    for variable in vae.variables:
        factor = RNG.uniform(0.5, 1.5, variable.shape)
        shift = RNG.uniform(0.0, 0.1, variable.shape) if len(variable.shape) < 2 else 0
        variable.assign(np.array(variable) * factor + shift)
    return vae


def saved_and_loaded(model: keras.Model, tmp_path: pathlib.Path) -> keras.Model:
    path = tmp_path / f"{model.name}.keras"
    model.save(path)
    loaded = keras.models.load_model(path, compile=False, safe_mode=True)
    for layer in loaded.layers:
        assert type(layer).__module__.startswith("keras."), layer
    return loaded


def check_equal(
    vae: VAE, config, shape: tuple[int, ...], tmp_path: pathlib.Path, rtol: float = 1e-4
) -> None:
    images = RNG.uniform(-1, 1, (3, *shape)).astype(np.float32)
    z = RNG.normal(size=(3, config.latent_dim)).astype(np.float32)
    conditions = RNG.uniform(-1, 1, (3, vae.num_conditions)).astype(np.float32)

    def with_conditions(x: np.ndarray):
        return (x, conditions) if vae.num_conditions else x

    encoder = saved_and_loaded(plain_keras.make_encoder(vae), tmp_path)
    posterior = encoder(with_conditions(images))
    names = ("posterior_mean", "posterior_log_var")
    for name, expected in zip(names, vae.encode(images, conditions), strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(posterior[name], expected, rtol, rtol * scale)
    decoder = saved_and_loaded(plain_keras.make_decoder(vae), tmp_path)
    mean = vae.mean_image(z, conditions)
    assert np.std(mean) > 0
    np.testing.assert_allclose(decoder(with_conditions(z)), mean, rtol, rtol)


@pytest.mark.parametrize("name", NAMES)
def test_every_config_makes_plain_models(name: str, tmp_path: pathlib.Path) -> None:
    config = importlib.import_module(f"configs.{name}").get_config()
    size = config.base_size * 2 ** len(config.encoder_filters)
    shape = (size, size, 3) if config.encoder_filters else (28, 28, 1)
    check_equal(perturbed_vae(config, shape), config, shape, tmp_path)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "logistic_mixture"])
@pytest.mark.parametrize("likelihood_scale", ["fixed", "learned", "optimal"])
def test_every_likelihood_has_a_mean_image(
    likelihood: str, likelihood_scale: str, tmp_path: pathlib.Path
) -> None:
    config = celeba_sharp.get_config()
    config.encoder_filters, config.decoder_filters = (4, 4), (4, 4)
    config.likelihood, config.likelihood_scale = likelihood, likelihood_scale
    config.posterior_scale, config.posterior_scale_floor = "softplus", 0.01
    config.downsample, config.unit_inputs = "max_pool", True
    shape = (16, 16, 3)
    check_equal(perturbed_vae(config, shape), config, shape, tmp_path)


def test_conditions_are_a_second_input(tmp_path: pathlib.Path) -> None:
    config = mnist_mlss.get_config()
    check_equal(perturbed_vae(config, (28, 28, 1), 10), config, (28, 28, 1), tmp_path)


def test_a_classifier_gives_probabilities(tmp_path: pathlib.Path) -> None:
    config = mnist_m2.get_config()
    vae = perturbed_vae(config, (28, 28, 1), config.num_classes)
    images = RNG.uniform(-1, 1, (3, 28, 28, 1)).astype(np.float32)
    classifier = plain_keras.make_classifier(vae)
    assert classifier is not None
    actual = saved_and_loaded(classifier, tmp_path)(images)
    expected = tf.nn.softmax(vae.classify(images))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    assert (
        plain_keras.make_classifier(make_vae(celeba_debug.get_config(), (32, 32, 3)))
        is None
    )


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_copies_compute_in_float32(precision: str, tmp_path: pathlib.Path) -> None:
    config = celeba_debug.get_config()
    config.precision = precision
    vae = perturbed_vae(config, (32, 32, 3))
    for model in (plain_keras.make_encoder(vae), plain_keras.make_decoder(vae)):
        assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    # The run itself computes with few digits, so the tolerance is wide.
    check_equal(vae, config, (32, 32, 3), tmp_path, rtol=0.05)
