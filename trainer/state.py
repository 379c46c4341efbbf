"""The state of a run: its weights, their average, the optimizer, and the step."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from absl import logging
from ml_collections import ConfigDict

from pipeline import contract
from trainer import checkpoints, conditions
from trainer.models.vae import VAE, make_vae


@dataclasses.dataclass(frozen=True)
class State:
    """All that a run is; the rest follows from its settings.

    Attributes:
        vae: The weights that the optimizer moves.
        ema_vae: Their exponential moving average, which is evaluated and pictured.
        optimizer: With its moments.
        step: Updates made, int64 scalar.
        ledger: Running hash of the record ids consumed, in order, int64 scalar.
    """

    vae: VAE
    ema_vae: VAE
    optimizer: keras.optimizers.Optimizer
    step: tf.Variable
    ledger: tf.Variable

    def ledger_text(self) -> str:
        """Returns the ledger as 16 hexadecimal digits."""
        return f"{int(self.ledger.numpy()) % 2**64:016x}"

    def variables(self) -> dict[str, Any]:
        """Returns every variable by a name that is the same in every process."""
        return {
            "step": self.step,
            "ledger": self.ledger,
            **{f"vae/{k}": v for k, v in self.vae.named_variables().items()},
            **{f"ema_vae/{k}": v for k, v in self.ema_vae.named_variables().items()},
            **{
                f"optimizer/{index}": variable
                for index, variable in enumerate(self.optimizer.variables)
            },
        }


def make_state(config: ConfigDict, manifest: contract.Manifest) -> State:
    """Returns the state at step 0, a function of the settings alone.

    To be called in the scope of the run's strategy.

    Raises:
        ValueError: If the model cannot take the images of the dataset.
    """
    keras.utils.set_random_seed(config.seed)
    vae, ema_vae = _make_vae(config, manifest), _make_vae(config, manifest)
    for average, variable in zip(ema_vae.variables, vae.variables, strict=True):
        average.assign(variable)
    optimizer = make_optimizer(config)
    optimizer.build(vae.trainable_variables)
    return State(
        vae,
        ema_vae,
        optimizer,
        step=tf.Variable(0, dtype=tf.int64),
        ledger=tf.Variable(0, dtype=tf.int64),
    )


def make_optimizer(config: ConfigDict) -> keras.optimizers.Optimizer:
    """Returns the optimizer that `config` names.

    Raises:
        ValueError: If there is none of this name.
    """
    learning_rate = make_learning_rate(config)
    if config.optimizer == "adam":
        return keras.optimizers.Adam(
            learning_rate,
            beta_1=config.adam_beta_1,
            beta_2=config.adam_beta_2,
            epsilon=config.adam_epsilon,
        )
    if config.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(
            learning_rate,
            rho=config.rmsprop_decay,
            epsilon=config.rmsprop_epsilon,
        )
    raise ValueError(f"--config.optimizer={config.optimizer!r} must be adam or rmsprop")


def make_learning_rate(
    config: ConfigDict,
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate, or how it goes down in steps.

    Raises:
        ValueError: If the steps do not grow, or have no factor each.

    Example:
        >>> config = ConfigDict({"learning_rate": 1.0})
        >>> config.learning_rate_steps = (10,)
        >>> config.learning_rate_factors = (0.1,)
        >>> rate = make_learning_rate(config)
        >>> [round(float(rate(step)), 6) for step in (0, 9, 10, 99)]
        [1.0, 1.0, 0.1, 0.1]
    """
    steps = tuple(config.learning_rate_steps)
    factors = tuple(config.learning_rate_factors)
    are_growing = list(steps) == sorted(set(steps)) and all(step > 0 for step in steps)
    if len(steps) != len(factors) or not are_growing:
        raise ValueError(
            f"--config.learning_rate_steps={steps} must be growing steps above 0, and "
            f"--config.learning_rate_factors={factors} as many factors"
        )
    if not steps:
        return config.learning_rate
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        # Keras changes after its boundary.
        [step - 1 for step in steps],
        [config.learning_rate * factor for factor in (1.0, *factors)],
    )


def save(state: State, directory: pathlib.Path, dataset_digest: str, keep: int) -> None:
    """Writes a checkpoint of `state`, and removes all but the newest `keep`.

    Raises:
        OSError: If it cannot be written; older checkpoints are as they were.
    """
    step = int(state.step.numpy())
    arrays = {name: variable.numpy() for name, variable in state.variables().items()}
    path = checkpoints.save(
        directory, step, arrays, {"dataset_digest": dataset_digest}, keep
    )
    logging.info("checkpoint of step %d in %s", step, path)


def restore(state: State, directory: pathlib.Path) -> bool:
    """Fills `state` from the newest whole checkpoint, if there is one.

    Returns:
        Whether there was one.

    Raises:
        CheckpointError: If all are damaged, or one is of another model.
    """
    loaded = checkpoints.load_newest(directory)
    if loaded is None:
        return False
    arrays, _ = loaded
    variables = state.variables()
    if _kinds(variables) != _kinds(arrays):
        raise checkpoints.CheckpointError(
            f"the checkpoint in {directory} is of another model: its arrays do not "
            "have the names, shapes and types of this configuration's; choose another "
            "--workdir"
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return True


def load_averaged_vae(
    config: ConfigDict, manifest: contract.Manifest, directory: pathlib.Path
) -> tuple[VAE, int]:
    """Returns the EMA model of the newest whole checkpoint, and its step.

    Raises:
        CheckpointError: If there is none, all are damaged, or it is of another model.
    """
    loaded = checkpoints.load_newest(directory)
    if loaded is None:
        raise checkpoints.CheckpointError(
            f"{directory} has no checkpoint: train first, or give another --workdir"
        )
    arrays, _ = loaded
    vae = _make_vae(config, manifest)
    variables = {"step": tf.Variable(0, dtype=tf.int64)} | {
        f"ema_vae/{name}": variable for name, variable in vae.named_variables().items()
    }
    found = _kinds(arrays)
    for name, kind in _kinds(variables).items():
        if found.get(name) != kind:
            raise checkpoints.CheckpointError(
                f"the checkpoint in {directory} is of another model than config.json's:"
                f" its array {name} is {found.get(name)}, and should be {kind}"
            )
        variables[name].assign(arrays[name])
    return vae, int(arrays["step"])


def _kinds(arrays: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Returns the shape and type of arrays or variables."""
    return {
        name: (tuple(array.shape), tf.as_dtype(array.dtype).name)
        for name, array in arrays.items()
    }


def _make_vae(config: ConfigDict, manifest: contract.Manifest) -> VAE:
    num_conditions = conditions.num_conditions(config, manifest)
    return make_vae(config, manifest.image_shape, num_conditions)
