"""The learning rate as a function of the step."""

import dataclasses
import math
from collections.abc import Sequence

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A learning rate that depends on the step.

    The rate is the product of `learning_rate` and these factors:

    * In the warm-up, a factor that grows linearly from 0 to 1 over
      `learning_rate_warmup_steps`.
    * The factor of the latest step in `learning_rate_steps` that the run has reached.
    * For the cosine schedule, a factor that falls from 1 at the end of the warm-up to
      `learning_rate_final_factor` at `learning_rate_decay_steps`:

        final + (1 - final) * (1 + cos(pi * progress)) / 2.

    Attributes:
        learning_rate: Base rate, before all factors.
        learning_rate_schedule: Kind of schedule, `constant` or `cosine`.
        learning_rate_warmup_steps: Number of warm-up steps; 0 for none.
        learning_rate_steps: First step of each factor, in increasing order.
        learning_rate_factors: Factor for each of `learning_rate_steps`.
        learning_rate_decay_steps: Last step of the cosine.
        learning_rate_final_factor: Factor from the end of the cosine on, in [0, 1].

    Source:
        Loshchilov and Hutter, "SGDR", equation 5, without restarts.

    Example:
        >>> schedule = Schedule(1.0, "constant", 4, (10,), (0.1,), 0, 0.0)
        >>> [round(float(schedule.rate(step)), 6) for step in (0, 3, 4, 9, 10)]
        [0.0, 0.75, 1.0, 1.0, 0.1]
    """

    learning_rate: float
    learning_rate_schedule: str
    learning_rate_warmup_steps: int
    learning_rate_steps: Sequence[int]
    learning_rate_factors: Sequence[float]
    learning_rate_decay_steps: int
    learning_rate_final_factor: float

    def rate(self, step: int | tf.Tensor) -> tf.Tensor:
        """Returns the rate of the update after `step` earlier updates, float32."""
        now = tf.cast(step, tf.float64)
        rate = tf.constant(self.learning_rate, tf.float64)
        warmup = self.learning_rate_warmup_steps
        if warmup:
            rate *= tf.minimum(now / warmup, 1)
        factor = tf.constant(1.0, tf.float64)
        for first_step, value in zip(
            self.learning_rate_steps, self.learning_rate_factors, strict=True
        ):
            factor = tf.where(now >= first_step, tf.constant(value, tf.float64), factor)
        rate *= factor
        if self.learning_rate_schedule == "cosine":
            num_steps = self.learning_rate_decay_steps - warmup
            progress = tf.clip_by_value((now - warmup) / num_steps, 0, 1)
            final = self.learning_rate_final_factor
            rate *= final + (1 - final) * (1 + tf.cos(math.pi * progress)) / 2
        return tf.cast(rate, tf.float32)
