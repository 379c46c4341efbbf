"""Makes the compiled step of a config as training does, on one batch in memory."""

import dataclasses
import importlib
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from pipeline import contract
from trainer.distribution import strategies
from trainer.optimization.objectives import make_objective
from trainer.runs import settings
from trainer.runs.state import State, make_state
from trainer.training.steps import Steps


@dataclasses.dataclass(frozen=True)
class CompiledRun:
    """A state, the steps that change it, and an endless iterator of one batch."""

    state: State
    steps: Steps
    batches: Iterator


def load_config(
    config_file: str, strategy: tf.distribute.Strategy, changes: Mapping[str, Any]
) -> ConfigDict:
    """Returns the resolved settings of a file in `configs/`, with changes applied."""
    module = importlib.import_module(f"configs.{pathlib.Path(config_file).stem}")
    config = module.get_config()
    config.update_from_flattened_dict(dict(changes))
    return settings.resolve(config, strategy.num_replicas_in_sync)


def make_run(
    config: ConfigDict,
    strategy: tf.distribute.Strategy,
    image_shape: Sequence[int],
    kind: type[Steps] = Steps,
) -> CompiledRun:
    """Makes the state, the steps and the batches of a config, and traces nothing yet.

    Args:
        config: Resolved settings, without conditions.
        strategy: Strategy from `strategies.make_strategy`.
        image_shape: `[height, width, channels]` of the images, which are noise.
        kind: Class of the steps, `Steps` or a subclass.
    """
    manifest = contract.Manifest(
        name="noise",
        settings={},
        source_fingerprint="",
        features={
            "key": contract.Feature("string"),
            "image": contract.Feature("float32", tuple(image_shape)),
        },
        splits={},
    )
    with strategy.scope():
        state = make_state(config, manifest)
    objective = make_objective(config, math.prod(image_shape))
    steps = kind.of_run(strategy, state, objective, config, image_shape)
    per_replica = config.global_batch_size // strategy.num_replicas_in_sync
    noise = np.random.default_rng(0).uniform(-1, 1, (per_replica, *image_shape))
    batch = {"image": noise.astype(np.float32), "record_id": np.arange(per_replica)}
    batches = strategies.iterate(
        strategy, lambda context: tf.data.Dataset.from_tensors(batch).repeat()
    )
    return CompiledRun(state, steps, batches)
