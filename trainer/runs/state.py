"""The state of a run: weights, their average, the optimizer and the step."""

import dataclasses
import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from pipeline import contract
from trainer.distribution.hosts import Hosts
from trainer.models.conditions import Conditioning
from trainer.models.vae import VAE, make_vae
from trainer.numerics import precision
from trainer.optimization import optimizers
from trainer.runs import checkpoints, settings, workdir


@dataclasses.dataclass(frozen=True)
class State:
    """Complete state of a run; its settings and dataset decide everything else.

    Attributes:
        vae: Model with the weights that the optimizer updates.
        ema_vae: Model with the exponential moving average of these weights, for
            evaluations and pictures.
        optimizer: Optimizer with its moments.
        step: Number of steps made, int64 scalar. A step counts even if the loss scale
            skipped its update.
        ledger: Running hash of the record ids consumed, in order, int64 scalar.
        loss_scale: Loss scale of a float16 run, else None.
    """

    vae: VAE
    ema_vae: VAE
    optimizer: keras.optimizers.Optimizer
    step: tf.Variable
    ledger: tf.Variable
    loss_scale: precision.LossScale | None

    def ledger_text(self) -> str:
        """Returns the ledger as 16 hexadecimal digits."""
        return f"{int(self.ledger.numpy()) % 2**64:016x}"

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns a copy of every variable by its name."""
        return {name: variable.numpy() for name, variable in self.variables().items()}

    def variables(self) -> dict[str, Any]:
        """Returns every variable by a name that is the same in every process."""
        scale = self.loss_scale
        scaling = scale and {
            "loss_scale/scale": scale.scale,
            "loss_scale/num_good_steps": scale.num_good_steps,
        }
        return {
            "step": self.step,
            "ledger": self.ledger,
            **{f"vae/{k}": v for k, v in self.vae.named_variables().items()},
            **{f"ema_vae/{k}": v for k, v in self.ema_vae.named_variables().items()},
            **{
                f"optimizer/{index}": variable
                for index, variable in enumerate(self.optimizer.variables)
            },
            **(scaling or {}),
        }


def make_state(config: ConfigDict, manifest: contract.Manifest) -> State:
    """Returns the state at step 0, which depends on the settings and manifest alone.

    Call it in the scope of the run's strategy.

    Raises:
        ValueError: If the model cannot take the images of the dataset.
    """
    keras.utils.set_random_seed(config.seed)
    vae, ema_vae = _make_vae(config, manifest), _make_vae(config, manifest)
    for average, variable in zip(ema_vae.variables, vae.variables, strict=True):
        average.assign(variable)
    optimizer = optimizers.make_optimizer(config)
    optimizer.build(vae.trainable_variables)
    return State(
        vae,
        ema_vae,
        optimizer,
        step=tf.Variable(0, dtype=tf.int64),
        ledger=tf.Variable(0, dtype=tf.int64),
        loss_scale=precision.make_loss_scale(
            config.precision, config.loss_scale_growth_steps
        ),
    )


def restore(
    state: State,
    directory: pathlib.Path,
    origin: Mapping[str, str] = MappingProxyType({}),
    *,
    is_owner: bool = False,
) -> bool:
    """Fills `state` from the newest whole checkpoint, if the run has one.

    Args:
        state: State to fill.
        directory: Directory of the checkpoints.
        origin: Digests of the run's dataset and settings; see `workdir.origin`.
        is_owner: Whether the caller holds the workdir; see `checkpoints.load_newest`.

    Returns:
        Whether the run has a whole checkpoint.

    Raises:
        CheckpointError: If all checkpoints are damaged, or the newest whole checkpoint
            belongs to another model or run.
    """
    loaded = checkpoints.load_newest(directory, origin, is_owner=is_owner)
    if loaded is None:
        return False
    arrays, meta = loaded
    variables = state.variables()
    if _kinds(variables) != _kinds(arrays):
        raise checkpoints.CheckpointError(
            f"the checkpoint in {directory} belongs to another model: its arrays have "
            "other names, shapes or types than this configuration; choose another "
            "`workdir`"
        )
    _check_step(arrays, meta, directory)
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return True


def share(state: State, hosts: Hosts) -> None:
    """Copies the chief's state to all hosts; other hosts may have no checkpoints."""
    variables = list(state.variables().values())
    arrays = hosts.from_chief([variable.numpy() for variable in variables])
    if not hosts.is_chief:
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)


def load_averaged_vae(
    config: ConfigDict, manifest: contract.Manifest, directory: pathlib.Path
) -> tuple[VAE, int]:
    """Returns the EMA model of the newest whole checkpoint, and its step.

    Raises:
        CheckpointError: If the run has no checkpoint, all checkpoints are damaged, or
            the newest whole checkpoint belongs to another model or run.
    """
    loaded = checkpoints.load_newest(directory, workdir.origin(config, manifest))
    if loaded is None:
        raise checkpoints.CheckpointError(
            f"{directory} has no checkpoint: train first, or give another `workdir`"
        )
    arrays, meta = loaded
    vae = _make_vae(config, manifest)
    variables = {"step": tf.Variable(0, dtype=tf.int64)} | {
        f"ema_vae/{name}": variable for name, variable in vae.named_variables().items()
    }
    saved_kinds = _kinds(arrays)
    for name, kind in _kinds(variables).items():
        if saved_kinds.get(name) != kind:
            raise checkpoints.CheckpointError(
                f"the checkpoint in {directory} belongs to another model than "
                f"config.json: its array {name} is {_shown(saved_kinds.get(name))}, "
                f"but must be {_shown(kind)}; if config.json was edited, restore it"
            )
        variables[name].assign(arrays[name])
    _check_step(arrays, meta, directory)
    return vae, int(arrays["step"])


def _check_step(
    arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any], directory: pathlib.Path
) -> None:
    if arrays["step"] != meta["step"]:
        raise checkpoints.CheckpointError(
            f"the checkpoint of step {meta['step']} in {directory} holds the state of "
            f"step {arrays['step']}: it was renamed or changed; move the checkpoint "
            "away"
        )


def _kinds(arrays: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Returns the shape and type of arrays or variables."""
    return {
        name: (tuple(array.shape), tf.as_dtype(array.dtype).name)
        for name, array in arrays.items()
    }


def _shown(kind: tuple[tuple[int, ...], str] | None) -> str:
    return "missing" if kind is None else f"{kind[1]} {list(kind[0])}"


def _make_vae(config: ConfigDict, manifest: contract.Manifest) -> VAE:
    num_conditions = settings.select(config, Conditioning).vector_length(manifest)
    return make_vae(config, manifest.image_shape, num_conditions)
