"""Compiles steps of a small model on random images, in this process and without files.

The batch has 2 groups of 4 images of 8 px.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from configs import celeba_debug
from pipeline import contract
from trainer.optimization.objectives import make_objective
from trainer.runs import settings
from trainer.runs.state import State, make_state
from trainer.training.steps import Steps

SHAPE = (8, 8, 3)
BATCH_SIZE = 8
MANIFEST = contract.Manifest(
    name="d",
    settings={},
    source_fingerprint="ab",
    features={
        "key": contract.Feature("string"),
        "image": contract.Feature("float32", SHAPE),
    },
    splits={},
)
_RNG = np.random.default_rng(0)
BATCH = {
    "image": _RNG.uniform(-1, 1, (BATCH_SIZE, *SHAPE)).astype(np.float32),
    "record_id": np.arange(BATCH_SIZE),
}


@dataclasses.dataclass(frozen=True)
class SmallRun:
    """The state of a run, and the steps that change it."""

    state: State
    steps: Steps

    def train(self, num_steps: int, factor: float = 1.0) -> tuple[dict, bool]:
        """Makes steps; returns the last step's metrics, and whether the run can go on.

        Args:
            num_steps: Number of steps, all on the same batch.
            factor: Factor that scales the images of the batch.
        """
        batch = {**BATCH, "image": factor * BATCH["image"]}
        batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
        count = tf.constant(num_steps, tf.int64)
        values, can_go_on, _ = self.steps.train(batches, count)
        metrics = zip(self.steps.metric_names, values.numpy().tolist(), strict=True)
        return dict(metrics), bool(can_go_on)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns a copy of the state's arrays, by name."""
        return {name: np.array(value) for name, value in self.state.variables().items()}


def make_small_run(batch_norm: bool = True, **changes) -> SmallRun:
    """Returns a run on one device at step 0, with the given settings changed."""
    config = celeba_debug.get_config()
    config.encoder_filters, config.decoder_filters = (8,), (8,)
    config.layer_defaults.batch_norm = batch_norm
    config.global_batch_size, config.num_batch_groups = BATCH_SIZE, 2
    config.update(changes)
    config = settings.resolve(config, 1)
    state = make_state(config, MANIFEST)
    objective = make_objective(config, np.prod(SHAPE))
    steps = Steps.of_run(tf.distribute.get_strategy(), state, objective, config, SHAPE)
    return SmallRun(state, steps)
