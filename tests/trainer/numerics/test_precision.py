"""Mixed precision: the type of each computation, and the effect of the loss scale."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict

from configs import celeba_debug
from tests.trainer.small_steps import make_small_run
from trainer.models import layers
from trainer.models.batch_norm import BatchNormalization
from trainer.models.vae import make_vae
from trainer.numerics import exact, precision
from trainer.runs import setting_checks

MIXED = ("mixed_bfloat16", "mixed_float16")
RNG = np.random.default_rng(0)


def changed(**values: object) -> ConfigDict:
    config = celeba_debug.get_config()
    config.update(values)
    return config


@pytest.mark.parametrize("name", MIXED)
def test_layers_compute_in_it_and_all_that_is_kept_is_float32(name: str) -> None:
    vae = make_vae(changed(precision=name), (32, 32, 3))
    assert keras.config.dtype_policy().name == "float32", "the setting leaks"
    dtype = name.removeprefix("mixed_")
    for part, layer in (
        (vae.encoder, "conv_0"),
        (vae.encoder, "conv_0_norm"),
        (vae.encoder, "posterior_mean"),
        (vae.decoder, "deconv_0"),
        (vae.decoder, "image"),
    ):
        assert part.get_layer(layer).output.dtype == dtype, layer
    assert vae.decoder.get_layer("tanh").output.dtype == "float32"
    assert {variable.dtype for variable in vae.variables} == {"float32"}
    images, nothing = tf.zeros([2, 32, 32, 3]), tf.zeros([2, 0])
    mean, log_var = vae.encode(images, nothing, training=True)
    outputs = vae.decode(mean, nothing)
    assert mean.dtype == log_var.dtype == outputs.dtype == tf.float32


@pytest.mark.parametrize("name", MIXED)
def test_outputs_without_an_activation_are_float32_too(name: str) -> None:
    config = changed(
        precision=name,
        objective="elbo",
        output_activation="linear",
        posterior_scale="softplus",
        condition="label",
        labelled_fraction=0.5,
    )
    vae = make_vae(config, (32, 32, 3), config.num_classes)
    images, conditions = tf.zeros([2, 32, 32, 3]), tf.zeros([2, config.num_classes])
    mean, log_var = vae.encode(images, conditions)
    for output in (mean, log_var, vae.decode(mean, conditions), vae.classify(images)):
        assert output.dtype == tf.float32


@pytest.mark.parametrize("num_groups", [1, 2])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_norm_computes_in_float32(dtype: str, num_groups: int) -> None:
    # Squares of these values overflow in float16, and bfloat16 loses their mean.
    x = tf.cast(1000 + 100 * RNG.normal(size=(64, 4)), dtype)
    wide, narrow = (
        BatchNormalization(momentum=0.0, dtype=policy)
        for policy in ("float32", f"mixed_{dtype}")
    )
    with exact.scope(num_groups):
        expected = wide(tf.cast(x, tf.float32), training=True)
        actual = narrow(x, training=True)
    assert actual.dtype == dtype
    # The kernels of each type sum in their own order, so a few values round to the next
    # one.
    rounded = (tf.cast(each, dtype) for each in (actual, expected))
    actual, expected = (tf.cast(each, tf.float32) for each in rounded)
    epsilon = {"bfloat16": 2**-7, "float16": 2**-10}[dtype]
    np.testing.assert_allclose(actual, expected, rtol=epsilon)
    assert np.mean(np.equal(actual, expected)) > 0.98
    for ours, theirs in zip(narrow.variables, wide.variables, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-6)
        theirs.assign(ours)
    assert narrow(x).dtype == dtype
    np.testing.assert_array_equal(
        narrow(x), tf.cast(wide(tf.cast(x, tf.float32)), dtype)
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("kind", ["Conv2D", "Conv2DTranspose", "Dense"])
def test_gradients_of_groups_are_summed_in_float64(dtype: str, kind: str) -> None:
    arguments = {"units": 1} if kind == "Dense" else {"filters": 1, "kernel_size": 1}
    layer = getattr(layers, kind)(**arguments, use_bias=False, dtype=f"mixed_{dtype}")
    shape = [4, 1] if kind == "Dense" else [4, 1, 1, 1]
    # A sum in the layer's type, or in float32, would lose every 2^-14.
    values = [2.0**12, 2.0**-14, 2.0**-14, 2.0**-14]
    x = tf.reshape(tf.constant(values, dtype), shape)
    layer.build(shape)
    with exact.scope(4, layer.trainable_variables) as (kernel,):
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            outputs = layer(x)
        gradient = tape.gradient(outputs, kernel)
    assert outputs.dtype == dtype
    assert gradient.dtype == tf.float64
    assert float(tf.squeeze(gradient)) == 2.0**12 + 3 * 2.0**-14


@pytest.mark.slow
def test_the_loss_is_that_of_float32_up_to_rounding() -> None:
    losses = {
        name: make_small_run(precision=name).train(3)[0]["loss"]
        for name in setting_checks.CHOICES["precision"]
    }
    assert losses["mixed_bfloat16"] != losses["float32"] != losses["mixed_float16"]
    assert losses["mixed_bfloat16"] == pytest.approx(losses["float32"], rel=3e-2)
    assert losses["mixed_float16"] == pytest.approx(losses["float32"], rel=3e-3)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="precision='half' must be one of float32"):
        setting_checks.check(changed(precision="half"))


def test_the_scale_doubles_after_good_steps_and_halves_after_a_bad_one() -> None:
    loss_scale = precision.make_loss_scale("mixed_float16", growth_steps=3)
    assert loss_scale is not None
    assert float(loss_scale.scale) == 2.0**15
    seen = []
    for is_good in (1, 1, 0, 1, 1, 1, 1):
        loss_scale.update(tf.constant(bool(is_good)))
        seen.append((float(loss_scale.scale), int(loss_scale.num_good_steps)))
    assert seen == [
        (2.0**15, 1),
        (2.0**15, 2),
        (2.0**14, 0),
        (2.0**14, 1),
        (2.0**14, 2),
        (2.0**15, 0),
        (2.0**15, 1),
    ]


@pytest.mark.slow
def test_the_scale_stays_a_number_between_its_ends() -> None:
    loss_scale = precision.make_loss_scale("mixed_float16", growth_steps=1)
    assert loss_scale is not None
    for _ in range(2000):
        loss_scale.update(tf.constant(True))
    assert float(loss_scale.scale) == 2.0**24
    while loss_scale.can_shrink():
        loss_scale.update(tf.constant(False))
    assert float(loss_scale.scale) == 1.0


@pytest.mark.parametrize("name", ["float32", "mixed_bfloat16"])
def test_wide_exponents_need_no_scale(name: str) -> None:
    assert precision.make_loss_scale(name, growth_steps=1) is None
