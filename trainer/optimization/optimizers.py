"""Optimizers by name, as in the settings."""

import keras
from ml_collections import ConfigDict


def make_optimizer(config: ConfigDict) -> keras.optimizers.Optimizer:
    """Returns the optimizer that `config` names.

    Training sets its learning rate from `schedules` at every step.

    Raises:
        ValueError: If the name is unknown.
    """
    if config.optimizer == "adam":
        return keras.optimizers.Adam(
            config.learning_rate,
            beta_1=config.adam_beta_1,
            beta_2=config.adam_beta_2,
            epsilon=config.adam_epsilon,
        )
    if config.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(
            config.learning_rate,
            rho=config.rmsprop_decay,
            epsilon=config.rmsprop_epsilon,
        )
    raise ValueError(f"config.optimizer={config.optimizer!r} must be adam or rmsprop")
