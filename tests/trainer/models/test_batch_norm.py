"""Batch norm of several groups by fused kernels, and by the operations of a GPU."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.models import batch_norm
from trainer.numerics import exact

NUM_GROUPS = 4
_RNG = np.random.default_rng(0)
# A mean far from 0 shows a gradient that forgets to subtract it.
IMAGES = _RNG.normal(3, 2, (8, 5, 5, 3))
VECTORS = _RNG.normal(-4, 0.5, (8, 6))


@pytest.fixture(params=["fused kernels", "operations of a GPU"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Chooses the kernels, and returns the name of the class whose work counts."""
    has_fused = request.param == "fused kernels"
    monkeypatch.setattr(batch_norm, "_has_fused_kernels", lambda _: has_fused)
    return "_Fused" if has_fused else "_Plain"


def normalize(x: np.ndarray, dy: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the outputs, statistics and gradients of a layer in training.

    Args:
        x: `[batch, ..., channels]` inputs.
        dy: Gradient by the outputs, of the shape of `x`.
    """
    num_channels = x.shape[-1]
    layer = batch_norm.BatchNormalization(momentum=0.75)
    layer.build(x.shape)
    layer.gamma.assign(np.linspace(0.5, 2, num_channels))
    layer.beta.assign(np.linspace(-1, 1, num_channels))
    inputs = tf.constant(x, tf.float32)
    with exact.scope(NUM_GROUPS, layer.trainable_variables) as weights:
        with tf.GradientTape() as tape:
            tape.watch([inputs, *weights])
            outputs = layer(inputs, training=True)
            total = tf.reduce_sum(outputs * tf.constant(dy, tf.float32))
        dx, dgamma, dbeta = tape.gradient(total, [inputs, *weights])
    return {
        "outputs": outputs.numpy(),
        "moving_mean": layer.moving_mean.numpy(),
        "moving_variance": layer.moving_variance.numpy(),
        "dx": dx.numpy(),
        "dgamma": dgamma.numpy(),
        "dbeta": dbeta.numpy(),
    }


def closed_form(x: np.ndarray, dy: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the values of `normalize` in float64 over the whole batch.

    Source:
        Ioffe and Szegedy, "Batch Normalization", section 3.
    """
    num_channels = x.shape[-1]
    gamma, beta = np.linspace(0.5, 2, num_channels), np.linspace(-1, 1, num_channels)
    axes = tuple(range(x.ndim - 1))
    mean, variance = x.mean(axes), x.var(axes)
    rstd = 1 / np.sqrt(variance + 1e-3)
    h = (x - mean) * rstd
    dh = dy * gamma
    return {
        "outputs": gamma * h + beta,
        "moving_mean": 0.25 * mean,
        "moving_variance": 0.75 + 0.25 * variance,
        "dx": rstd * (dh - dh.mean(axes) - h * (dh * h).mean(axes)),
        "dgamma": (dy * h).sum(axes),
        "dbeta": dy.sum(axes),
    }


@pytest.mark.parametrize("x", [IMAGES, VECTORS], ids=["images", "vectors"])
def test_values_and_gradients_have_their_closed_form(
    kernels: str, x: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    dy = np.random.default_rng(1).normal(0.5, 1, x.shape)
    used = []
    for name in ("_Fused", "_Plain"):
        moments = getattr(batch_norm, name).moments

        def counted(group, name=name, moments=moments):
            used.append(name)
            return moments(group)

        monkeypatch.setattr(getattr(batch_norm, name), "moments", counted)
    actual = normalize(x, dy)
    assert used == NUM_GROUPS * [kernels]
    for name, expected in closed_form(x, dy).items():
        np.testing.assert_allclose(
            actual[name], expected, rtol=1e-4, atol=2e-5, err_msg=name
        )


def test_both_kernels_agree_in_each_operation() -> None:
    x, dy = (
        tf.constant(values, tf.float32)
        for values in (IMAGES, np.random.default_rng(1).normal(size=IMAGES.shape))
    )
    mean, scale, shift = (
        tf.constant(values, tf.float32)
        for values in ([3.0, 2.5, 4], [0.5, -1, 2], [1.0, 0, -3])
    )
    plain, fused = batch_norm._Plain, batch_norm._Fused
    for operation, arguments in (
        ("moments", (x,)),
        ("affine", (x, mean, scale, shift)),
        ("gradient_parts", (dy, x, mean, scale)),
    ):
        values, targets = (
            getattr(kind, operation)(*arguments) for kind in (plain, fused)
        )
        for value, target in zip(values, targets, strict=True):
            np.testing.assert_allclose(
                value, target, rtol=1e-5, atol=1e-5, err_msg=operation
            )


def test_fused_kernels_serve_float32_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = tf.zeros([2, 3])
    assert batch_norm._has_fused_kernels(x) == (
        not tf.config.list_logical_devices("GPU")
    )
    assert not batch_norm._has_fused_kernels(tf.cast(x, tf.bfloat16))
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _: ["GPU:0"])
    assert not batch_norm._has_fused_kernels(x)
