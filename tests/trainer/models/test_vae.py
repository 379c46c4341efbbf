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


def test_the_flagship_has_the_published_shapes() -> None:
    model = vae.make_vae(celeba.get_config(), (128, 128, 3))
    shapes = [
        model.encoder.get_layer(f"conv_{block}_relu").output.shape[1:]
        for block in range(5)
    ]
    assert shapes == [
        (64, 64, 32),
        (32, 32, 64),
        (16, 16, 64),
        (8, 8, 128),
        (4, 4, 256),
    ]
    shapes = [
        model.decoder.get_layer(f"deconv_{block}_relu").output.shape[1:]
        for block in range(5)
    ]
    assert shapes == [
        (4, 4, 256),
        (8, 8, 128),
        (16, 16, 64),
        (32, 32, 64),
        (64, 64, 32),
    ]
    assert [output.shape for output in model.encoder.outputs] == [(None, 100)] * 2
    assert model.decoder.output_shape == (None, 128, 128, 3)
    # Kernels are 5 x 5, except 4 x 4 from the latents and 3 x 3 to the image. Batch
    # norm has scale and offset. Only the heads and the image layer have biases.
    encoder = 25 * (3 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 128 * 256) + 2 * 544
    heads = 2 * (4 * 4 * 256 * 100 + 100)
    decoder = 16 * 100 * 256 + 25 * (256 * 128 + 128 * 64 + 64 * 64 + 64 * 32)
    decoder += 2 * 544 + 9 * 32 * 3 + 3
    count = sum(np.prod(v.shape) for v in model.trainable_variables)
    assert count == encoder + heads + decoder


def test_batch_norm_has_the_published_decay_and_none_follows_the_image() -> None:
    model = vae.make_vae(celeba.get_config(), (128, 128, 3))
    norms = [
        layer
        for part in (model.encoder, model.decoder)
        for layer in part.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert [layer.momentum for layer in norms] == [0.99] * 10
    assert [layer.name for layer in model.decoder.layers[-2:]] == ["image", "tanh"]


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
    with pytest.raises(ValueError, match="--config.decoder_filters"):
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


def test_a_draw_is_the_mean_plus_scaled_noise() -> None:
    z = vae.draw_posterior(
        tf.constant([[1.0]]),
        tf.constant([[2 * np.log(3.0)]], tf.float32),
        tf.constant([[2.0]]),
    )
    np.testing.assert_allclose(z, [[7.0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("module", "encoder", "decoder"),
    [
        (mnist_hafner, [(784, 200), (200, 200), (200, 2), (200, 2)], [2, 200, 200]),
        (mnist_dense, [(784, 200), (200, 100), (200, 100)], [100, 200]),
        (mnist_mlss, [(784, 128), (128, 64), (128, 64)], [64, 128]),
    ],
)
def test_the_dense_systems_have_the_published_shapes(module, encoder, decoder) -> None:
    model = vae.make_vae(module.get_config(), (28, 28, 1))
    kernels = [v for v in model.encoder.trainable_variables if v.name == "kernel"]
    assert [tuple(v.shape) for v in kernels] == encoder
    kernels = [v for v in model.decoder.trainable_variables if v.name == "kernel"]
    assert [tuple(v.shape) for v in kernels] == list(
        zip(decoder, [*decoder[1:], 784], strict=True)
    )
    for part in (model.encoder, model.decoder):
        biases = [v.numpy() for v in part.trainable_variables if v.name == "bias"]
        assert len(biases) == len(part.trainable_variables) // 2
        assert not any(bias.any() for bias in biases)
    assert model.decoder(tf.zeros([5, decoder[0]])).shape == (5, 28, 28, 1)


@pytest.mark.parametrize(
    ("module", "layer", "stddev", "bound"),
    [
        (mnist_dense, "dense_0", 2 / 28, np.inf),
        # A normal truncated at two standard deviations has 0.88 of its standard
        # deviation.
        (mnist_mlss, "dense_0", 0.0880, 0.2),
    ],
)
def test_kernels_are_drawn_as_published(module, layer, stddev, bound) -> None:
    keras.utils.set_random_seed(0)
    model = vae.make_vae(module.get_config(), (28, 28, 1))
    kernel = model.encoder.get_layer(layer).kernel.numpy()
    assert kernel.std() == pytest.approx(stddev, rel=0.02)
    assert np.abs(kernel).max() <= bound


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
    with pytest.raises(ValueError, match=f"--config.{name}={value!r} must be"):
        setting_checks.check(config)
