import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import celeba, celeba_debug
from trainer.models import conv, vae


def test_the_flagship_has_the_published_shapes() -> None:
    model = vae.make_vae(celeba.get_config(), (128, 128, 3))
    shapes = [
        model.encoder.get_layer(f"relu_{block}").output.shape[1:] for block in range(5)
    ]
    assert shapes == [
        (64, 64, 32),
        (32, 32, 64),
        (16, 16, 64),
        (8, 8, 128),
        (4, 4, 256),
    ]
    shapes = [
        model.decoder.get_layer(f"relu_{block}").output.shape[1:] for block in range(5)
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
    # Kernels 5 x 5 but for 4 x 4 from the latents and 3 x 3 to the image; batch norm
    # has scale and offset; only the heads and the image have biases.
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
    assert [layer.name for layer in model.decoder.layers[-2:]] == [
        "deconv_image",
        "tanh",
    ]


def test_max_pool_halves_as_the_stride_does() -> None:
    config = celeba_debug.get_config()
    config.downsample = "max_pool"
    model = vae.make_vae(config, (32, 32, 3))
    assert model.encoder.get_layer("conv_0").strides == (1, 1)
    assert model.encoder.get_layer("pool_2").output.shape == (None, 4, 4, 32)
    config.downsample = "bilinear"
    with pytest.raises(ValueError, match="'bilinear' is not one of stride, max_pool"):
        vae.make_vae(config, (32, 32, 3))


def test_a_size_that_does_not_reach_4_names_those_that_do() -> None:
    with pytest.raises(
        ValueError, match="images of 100 x 100 do not fit the 5 blocks .* 64, 128, 256"
    ):
        vae.make_vae(celeba.get_config(), (100, 100, 3))
    with pytest.raises(ValueError, match="--config.decoder_filters"):
        conv.make_decoder((32, 32, 3), 4, (8, 8), 0.9)


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
