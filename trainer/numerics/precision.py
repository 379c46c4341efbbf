"""Compute types of layers, and a loss scale against vanishing float16 gradients.

Weights, their average, the optimizer, batch-norm statistics and losses are float32 in
every precision. Sums over examples are float64; see `exact`.
"""

import contextlib
import dataclasses
from collections.abc import Iterator

import keras
import tensorflow as tf

_FIRST_SCALE, _SMALLEST_SCALE, _LARGEST_SCALE = 2.0**15, 1.0, 2.0**24


@contextlib.contextmanager
def of_layers(precision: str) -> Iterator[None]:
    """Makes new layers compute in `precision` and keep their weights in float32."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)


@dataclasses.dataclass(frozen=True)
class LossScale:
    """Factor of the loss that keeps its gradients within the range of float16.

    A gradient that overflows halves the scale; `growth_steps` steps without an overflow
    double it. The scale is a power of two: division of the gradients by it is exact.

    Attributes:
        scale: Scale of the next step, float64 scalar.
        num_good_steps: Number of good steps since the scale last changed, int64 scalar.
        growth_steps: Number of good steps that double the scale.

    Source:
        Micikevicius et al., "Mixed Precision Training", section 3.2.
    """

    scale: tf.Variable
    num_good_steps: tf.Variable
    growth_steps: int

    def can_shrink(self) -> tf.Tensor:
        """Returns whether a smaller scale is allowed."""
        return self.scale > _SMALLEST_SCALE

    def update(self, is_good: tf.Tensor) -> None:
        """Sets the scale of the next step.

        Args:
            is_good: Whether the gradients of this step were finite.
        """
        num_good = tf.where(is_good, self.num_good_steps + 1, 0)
        is_time = num_good >= self.growth_steps
        grown = tf.minimum(self.scale * 2, _LARGEST_SCALE)
        if_good = tf.where(is_time, grown, self.scale)
        self.scale.assign(tf.where(is_good, if_good, self.scale / 2))
        self.num_good_steps.assign(tf.where(is_time, tf.zeros_like(num_good), num_good))


def make_loss_scale(precision: str, growth_steps: int) -> LossScale | None:
    """Returns the loss scale at step 0, or None if the precision needs none."""
    if precision != "mixed_float16":
        return None
    return LossScale(
        tf.Variable(_FIRST_SCALE, dtype=tf.float64),
        tf.Variable(0, dtype=tf.int64),
        growth_steps,
    )
