"""The learning rate as a function of the step."""

import math

import tensorflow as tf
from ml_collections import ConfigDict

SCHEDULES = ("constant", "cosine")


def check(config: ConfigDict) -> None:
    """Checks the settings that this module reads.

    Args:
        config: With `learning_rate_decay_steps` filled in, see `decay_steps`.

    Raises:
        ValueError: If one is out of range, or some do not go together.
    """
    _check_factors(config)
    schedule = config.learning_rate_schedule
    if schedule not in SCHEDULES:
        raise ValueError(
            f"--config.learning_rate_schedule={schedule!r} must be one of "
            f"{', '.join(SCHEDULES)}"
        )
    warmup, end = config.learning_rate_warmup_steps, config.learning_rate_decay_steps
    for name in ("learning_rate_warmup_steps", "learning_rate_decay_steps"):
        if config[name] < 0:
            raise ValueError(f"--config.{name}={config[name]} must not be negative")
    if not 0 <= config.learning_rate_final_factor <= 1:
        raise ValueError(
            f"--config.learning_rate_final_factor={config.learning_rate_final_factor} "
            "must be in [0, 1]"
        )
    if schedule == "constant":
        for name in ("learning_rate_decay_steps", "learning_rate_final_factor"):
            if config[name]:
                raise ValueError(
                    f"--config.{name}={config[name]} is of a rate that goes down: set "
                    "--config.learning_rate_schedule=cosine"
                )
    elif not end:
        raise ValueError(
            f"--config.learning_rate_schedule={schedule} needs an end, which a run of "
            f"--config.num_train_steps={config.num_train_steps} lacks: set --config."
            "learning_rate_decay_steps"
        )
    elif warmup >= end:
        raise ValueError(
            f"--config.learning_rate_warmup_steps={warmup} must be fewer than the "
            f"{end} steps after which the rate has gone down (--config."
            "learning_rate_decay_steps, or --config.num_train_steps)"
        )


def decay_steps(config: ConfigDict) -> int:
    """Returns `learning_rate_decay_steps`, in whose place 0 is the end of the run.

    Example:
        >>> config = ConfigDict({"learning_rate_schedule": "cosine"})
        >>> config.learning_rate_decay_steps, config.num_train_steps = 0, 500
        >>> decay_steps(config)
        500
    """
    if config.learning_rate_schedule == "constant" or config.learning_rate_decay_steps:
        return config.learning_rate_decay_steps
    return max(config.num_train_steps, 0)


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


def _check_factors(config: ConfigDict) -> None:
    steps = tuple(config.learning_rate_steps)
    factors = tuple(config.learning_rate_factors)
    are_growing = list(steps) == sorted(set(steps)) and all(step > 0 for step in steps)
    if len(steps) != len(factors) or not are_growing:
        raise ValueError(
            f"--config.learning_rate_steps={steps} must be growing steps above 0, and "
            f"--config.learning_rate_factors={factors} as many factors"
        )
