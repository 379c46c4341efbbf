"""The learning rate as a function of the step."""

import math

import tensorflow as tf
from ml_collections import ConfigDict


def learning_rate(step: int | tf.Tensor, config: ConfigDict) -> tf.Tensor:
    """Returns the rate of the update that is made after `step` others, float32.

    It is the product of `learning_rate`; a factor that grows linearly from 0 to 1 in
    `learning_rate_warmup_steps`; the last of `learning_rate_factors` whose step has
    come; and for the cosine schedule a factor that goes from 1 at the end of the
    warm-up to `learning_rate_final_factor` at `learning_rate_decay_steps` as

        final + (1 - final) * (1 + cos(pi * progress)) / 2.

    Args:
        step: Scalar.
        config: Resolved settings.

    Source:
        Loshchilov and Hutter, "SGDR", equation 5, without restarts.

    Example:
        >>> config = ConfigDict({"learning_rate": 1.0, "learning_rate_factors": (0.1,)})
        >>> config.learning_rate_steps = (10,)
        >>> config.learning_rate_schedule = "constant"
        >>> config.learning_rate_warmup_steps = 4
        >>> [round(float(learning_rate(step, config)), 6) for step in (0, 3, 4, 9, 10)]
        [0.0, 0.75, 1.0, 1.0, 0.1]
    """
    now = tf.cast(step, tf.float64)
    rate = tf.constant(config.learning_rate, tf.float64)
    warmup = config.learning_rate_warmup_steps
    if warmup:
        rate *= tf.minimum(now / warmup, 1)
    factor = tf.constant(1.0, tf.float64)
    for first_step, value in zip(
        config.learning_rate_steps, config.learning_rate_factors, strict=True
    ):
        factor = tf.where(now >= first_step, tf.constant(value, tf.float64), factor)
    rate *= factor
    if config.learning_rate_schedule == "cosine":
        num_steps = config.learning_rate_decay_steps - warmup
        progress = tf.clip_by_value((now - warmup) / num_steps, 0, 1)
        final = config.learning_rate_final_factor
        rate *= final + (1 - final) * (1 + tf.cos(math.pi * progress)) / 2
    return tf.cast(rate, tf.float32)
