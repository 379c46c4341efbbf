import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import (
    celeba,
    celeba_debug,
    mnist_dense,
    mnist_hafner,
    mnist_keras,
    mnist_mlss,
)
from trainer.models import networks, vae
from trainer.runs import setting_checks


def test_max_pool_halves_as_the_stride_does() -> None:
    config = celeba_debug.get_config()
    config.downsample = "max_pool"
    model = vae.make_vae(config, (32, 32, 3))
    assert model.encoder.get_layer("conv_0").strides == (1, 1)
    assert model.encoder.get_layer("conv_2_pool").output.shape == (None, 4, 4, 32)
    config.downsample = "bilinear"
    with pytest.raises(ValueError, match="'bilinear' must be one of stride, max_pool"):
        setting_checks.check(config)


def test_a_size_that_does_not_reach_4_names_those_that_do() -> None:
    with pytest.raises(
        ValueError, match="images of 100 x 100 do not fit .* 5 blocks .* 64, 128, 256"
    ):
        vae.make_vae(celeba.get_config(), (100, 100, 3))
    config = celeba_debug.get_config()
    config.decoder_filters = (8, 8)
    with pytest.raises(ValueError, match="`config.decoder_filters`"):
        networks.make_decoder(config, (32, 32, 3), 3)
    with pytest.raises(ValueError, match="images of 64 x 32 do not fit"):
        vae.make_vae(celeba_debug.get_config(), (64, 32, 3))


def test_weights_have_stable_and_distinct_names() -> None:
    first = vae.make_vae(celeba_debug.get_config(), (32, 32, 3)).named_variables()
    second = vae.make_vae(celeba_debug.get_config(), (32, 32, 3)).named_variables()
    assert list(first) == list(second)
    assert "encoder/conv_0/kernel" in first
    assert len(first) == len(
        vae.make_vae(celeba_debug.get_config(), (32, 32, 3)).variables
    )


def test_images_lie_within_the_range() -> None:
    model = vae.make_vae(celeba_debug.get_config(), (32, 32, 3))
    images = model.decoder(100 * tf.ones([2, 8])).numpy()
    assert images.shape == (2, 32, 32, 3)
    assert np.abs(images).max() <= 1


@pytest.mark.parametrize("stddev", [1e-4, 3.0, 1e4])
def test_a_draw_is_the_mean_plus_scaled_noise(stddev: float) -> None:
    z = vae.draw_posterior(
        tf.constant([[0.0, 1.0]]),
        tf.constant([2 * [2 * np.log(stddev)]], tf.float32),
        tf.constant([[2.0, -1.0]]),
    )
    np.testing.assert_allclose(z, [[2 * stddev, 1 - stddev]], rtol=1e-5)


def test_the_flagship_starts_from_xavier_kernels_and_zero_biases() -> None:
    """Kernels are uniform up to sqrt(6 / (fan_in + fan_out)), of Glorot and Bengio."""
    keras.utils.set_random_seed(0)
    model = vae.make_vae(celeba.get_config(), (128, 128, 3))
    kernels = [v for v in model.trainable_variables if v.name == "kernel"]
    assert len(kernels) == 5 + 2 + 5 + 1
    for kernel in kernels:
        values = kernel.numpy()
        # A convolution joins the channels of all places of its kernel.
        fans = math.prod(values.shape[:-2]) * sum(values.shape[-2:])
        limit = math.sqrt(6 / fans)
        assert np.abs(values).max() <= limit, kernel.path
        assert np.abs(values).max() > 0.99 * limit, kernel.path
        assert values.std() == pytest.approx(limit / math.sqrt(3), rel=0.05)
        assert values.mean() == pytest.approx(0, abs=0.1 * limit)
    biases = [v for v in model.trainable_variables if v.name == "bias"]
    assert [bias.path for bias in biases] == [
        "posterior_mean/bias",
        "posterior_log_var/bias",
        "image/bias",
    ]
    assert not any(bias.numpy().any() for bias in biases)


def test_a_softplus_scale_is_the_log_variance_of_its_deviation() -> None:
    config = mnist_dense.get_config()
    model = vae.make_vae(config, (28, 28, 1))
    head = model.encoder.get_layer("posterior_log_var")
    head.kernel.assign(tf.zeros_like(head.kernel))
    head.bias.assign(tf.fill(head.bias.shape, -50.0))
    _, log_var = model.encoder(tf.zeros([1, 28, 28, 1]))
    np.testing.assert_allclose(np.exp(log_var / 2), 1e-6, rtol=1e-3)
    head.bias.assign(tf.zeros(head.bias.shape))
    _, log_var = model.encoder(tf.zeros([1, 28, 28, 1]))
    np.testing.assert_allclose(np.exp(log_var / 2), np.log(2) + 1e-6, rtol=1e-5)


def test_convolutions_take_any_size_that_their_blocks_divide() -> None:
    config = mnist_hafner.get_config()
    config.encoder_filters, config.encoder_units = (32, 64), (16,)
    config.decoder_filters, config.decoder_units = (64, 64, 32), ()
    config.base_size, config.last_stride = 7, 1
    config.layer_defaults.kernel_size = 3
    model = vae.make_vae(config, (28, 28, 1))
    assert model.encoder.get_layer("conv_1").output.shape == (None, 7, 7, 64)
    assert model.encoder.get_layer("conv_1").use_bias
    assert model.decoder.get_layer("deconv_0").kernel_size == (7, 7)
    assert model.decoder.output_shape == (None, 28, 28, 1)


def test_a_dense_start_has_a_bias_for_every_place() -> None:
    model = vae.make_vae(mnist_keras.get_config(), (28, 28, 1))
    assert model.decoder.get_layer("base").bias.shape == (7 * 7 * 64,)
    assert model.decoder.get_layer("base_relu").output.shape == (None, 3136)
    shapes = [
        tuple(v.shape) for v in model.decoder.trainable_variables if v.name == "kernel"
    ]
    assert shapes == [(2, 3136), (3, 3, 64, 64), (3, 3, 32, 64), (3, 3, 1, 32)]
    count = sum(np.prod(v.shape) for v in model.trainable_variables)
    # keras.io prints 69,076 parameters for the encoder and 65,089 for the decoder.
    assert count == 69_076 + 65_089


def test_single_layers_may_differ() -> None:
    config = mnist_mlss.get_config()
    config.layer_overrides = {
        "encoder/dense_0": {"activation": "tanh", "batch_norm": True}
    }
    model = vae.make_vae(config, (28, 28, 1))
    assert not model.encoder.get_layer("dense_0").use_bias
    assert model.encoder.get_layer("dense_0_norm").momentum == 0.99
    assert model.encoder.get_layer("dense_0_tanh")
    assert model.decoder.get_layer("dense_0").use_bias


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"encoder/dense_7": {}}, "the layers of the encoder are dense_0, posterior"),
        ({"head/dense_0": {}}, "a name must begin with one of encoder/, decoder/"),
        (
            {"decoder/image": {"stride": 2}},
            "'stride': the options of a layer are activation, batch",
        ),
        ({"decoder/dense_0": {"activation": "swish"}}, "must be one of relu, tanh"),
        ({"decoder/dense_0": {"kernel_initializer": "ones"}}, "one of glorot_uniform"),
        ({"decoder/dense_0": {"kernel_size": 0}}, "kernel_size is 0"),
        ({"decoder/dense_0": {"kernel_size": 256}}, "256, but must be from 1 to 255"),
    ],
)
def test_overrides_that_fit_no_layer_are_named(overrides: dict, message: str) -> None:
    config = mnist_mlss.get_config()
    config.layer_overrides = overrides
    with pytest.raises(ValueError, match=message):
        vae.make_vae(config, (28, 28, 1))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("posterior_scale", "variance"),
        ("output_activation", "relu"),
        ("last_stride", 3),
        ("decoder_start", "pixel"),
    ],
)
def test_settings_of_the_model_are_checked(name: str, value: object) -> None:
    config = celeba_debug.get_config()
    config[name] = value
    with pytest.raises(ValueError, match=f"^config.{name}={value!r} must be"):
        setting_checks.check(config)
