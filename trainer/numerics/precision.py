"""What the layers compute in, and what keeps gradients of float16 from vanishing.

Weights, their average, the optimizer, batch-norm statistics and losses are float32 in
every precision; sums over examples are float64, see `exact`.
"""

import contextlib
import dataclasses
from collections.abc import Iterator

import keras
import tensorflow as tf

_FIRST_SCALE, _SMALLEST_SCALE, _LARGEST_SCALE = 2.0**15, 1.0, 2.0**24


@contextlib.contextmanager
def of_layers(precision: str) -> Iterator[None]:
    """Makes layers that compute in a precision, and keep weights in float32."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)


@dataclasses.dataclass(frozen=True)
class LossScale:
    """A factor of the loss by which its gradients are numbers of float16.

    It is halved when a gradient overflows, and doubled when none has for a while.
    Powers of two, so that dividing the gradients by it rounds nothing.

    Attributes:
        scale: Of the next step, float64 scalar.
        num_good_steps: Since it last changed, int64 scalar.
        growth_steps: So many good steps double it.

    Source:
        Micikevicius et al., "Mixed Precision Training", section 3.2.
    """

    scale: tf.Variable
    num_good_steps: tf.Variable
    growth_steps: int

    def can_shrink(self) -> tf.Tensor:
        """Returns whether there is a smaller scale to try."""
        return self.scale > _SMALLEST_SCALE

    def update(self, is_good: tf.Tensor) -> None:
        """Settles the scale of the next step.

        Args:
            is_good: Whether the gradients of this one were finite.
        """
        num_good = tf.where(is_good, self.num_good_steps + 1, 0)
        is_time = num_good >= self.growth_steps
        grown = tf.minimum(self.scale * 2, _LARGEST_SCALE)
        if_good = tf.where(is_time, grown, self.scale)
        self.scale.assign(tf.where(is_good, if_good, self.scale / 2))
        self.num_good_steps.assign(tf.where(is_time, tf.zeros_like(num_good), num_good))


def make_loss_scale(precision: str, growth_steps: int) -> LossScale | None:
    """Returns the loss scale of a run at step 0, or None if it needs none."""
    if precision != "mixed_float16":
        return None
    return LossScale(
        tf.Variable(_FIRST_SCALE, dtype=tf.float64),
        tf.Variable(0, dtype=tf.int64),
        growth_steps,
    )
