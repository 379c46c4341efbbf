"""Compares the layers with Keras's own, in one group and in four groups."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.models import layers
from trainer.models.batch_norm import BatchNormalization
from trainer.numerics import exact

RNG = np.random.default_rng(0)


def normal(*shape: int) -> tf.Tensor:
    return tf.constant(RNG.normal(size=shape), tf.float32)


OURS = {
    kind.__name__: kind
    for kind in (
        layers.Conv2D,
        layers.Conv2DTranspose,
        layers.Dense,
        layers.Activation,
        BatchNormalization,
    )
}
CASES = {
    "conv": (
        "Conv2D",
        {"filters": 6, "kernel_size": 5, "strides": 2, "padding": "same"},
        normal(8, 12, 12, 3),
    ),
    "conv_stride_1": (
        "Conv2D",
        {"filters": 6, "kernel_size": 3, "padding": "same"},
        normal(8, 7, 7, 3),
    ),
    "deconv_same": (
        "Conv2DTranspose",
        {"filters": 6, "kernel_size": 3, "strides": 2, "padding": "same"},
        normal(8, 5, 5, 4),
    ),
    "deconv_valid": (
        "Conv2DTranspose",
        {"filters": 6, "kernel_size": 4, "padding": "valid", "use_bias": False},
        normal(8, 1, 1, 4),
    ),
    "dense": ("Dense", {"units": 6}, normal(8, 9)),
    "relu": ("Activation", {"activation": "relu"}, normal(8, 9)),
    "norm": ("BatchNormalization", {"momentum": 0.9}, 5 + 3 * normal(8, 4, 4, 3)),
    "norm_of_vectors": ("BatchNormalization", {}, 5 + 3 * normal(8, 9)),
}


def make_pair(name: str) -> tuple[keras.Layer, keras.Layer, tf.Tensor]:
    """Returns our layer and Keras's with equal random weights, and their inputs."""
    kind, arguments, inputs = CASES[name]
    if kind == "Conv2D":
        arguments = {**arguments, "use_bias": False}
    ours = OURS[kind](**arguments)
    theirs = getattr(keras.layers, kind)(**arguments)
    ours.build(inputs.shape)
    theirs.build(inputs.shape)
    for a, b in zip(ours.variables, theirs.variables, strict=True):
        if "moving" not in a.path:
            a.assign(normal(*a.shape))
        b.assign(a)
    return ours, theirs, inputs


def weighted_sum(outputs: tf.Tensor) -> tf.Tensor:
    weights = tf.sin(tf.range(outputs.shape[-1], dtype=tf.float32))
    return tf.reduce_sum(weights * tf.cos(outputs))


def run(layer: keras.Layer, inputs: tf.Tensor, num_groups: int):
    """Returns outputs, and the gradients of a weighted sum of the outputs."""
    kwargs = (
        {"training": True} if isinstance(layer, keras.layers.BatchNormalization) else {}
    )
    with exact.scope(num_groups, layer.trainable_variables) as weights:
        with tf.GradientTape() as tape:
            tape.watch([inputs, *weights])
            outputs = layer(inputs, **kwargs)
            total = weighted_sum(outputs)
        return outputs, tape.gradient(total, [inputs, *weights])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("num_groups", [1, 4])
def test_outputs_and_gradients_are_those_of_keras(name: str, num_groups: int) -> None:
    ours, theirs, inputs = make_pair(name)
    outputs, gradients = run(ours, inputs, num_groups)
    kwargs = {"training": True} if name.startswith("norm") else {}
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        expected = theirs(inputs, **kwargs)
        total = weighted_sum(expected)
    expected_gradients = tape.gradient(
        total, [inputs, *[v.value for v in theirs.trainable_variables]]
    )
    np.testing.assert_allclose(outputs, expected, atol=2e-5)
    for actual, target in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(actual, target, atol=1e-4, rtol=1e-4)
    for a, b in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=a.path)


@pytest.mark.parametrize("name", [name for name in CASES if name != "relu"])
@pytest.mark.parametrize("num_groups", [1, 4])
def test_gradients_by_weights_are_float64(name: str, num_groups: int) -> None:
    ours, _, inputs = make_pair(name)
    _, (_, *gradients) = run(ours, inputs, num_groups)
    assert gradients
    assert {gradient.dtype for gradient in gradients} == {tf.float64}


def test_inference_uses_the_moving_statistics() -> None:
    ours, theirs, inputs = make_pair("norm")
    ours(inputs, training=True)
    theirs(inputs, training=True)
    np.testing.assert_allclose(ours(inputs), theirs(inputs), atol=2e-5)


def test_a_channel_that_is_constant_is_not_divided_by_zero() -> None:
    layer = BatchNormalization()
    outputs = layer(tf.fill([4, 2, 2, 1], 1e4), training=True)
    np.testing.assert_allclose(outputs, np.zeros([4, 2, 2, 1]), atol=1e-2)
