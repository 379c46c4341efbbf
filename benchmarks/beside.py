"""Measures, in this process, the work of a config's run outside its steps.

    python -m benchmarks.beside configs/celeba.py DATASET_DIR [SECONDS_A_TURN]

Prints a JSON object of seconds; `benchmarks.overheads` makes a row of it.
"""

import json
import math
import os
import pathlib
import statistics
import sys
import tempfile
import time
from typing import Any

import tensorflow as tf
from ml_collections import ConfigDict

from benchmarks import compiled
from pipeline import contract
from trainer.distribution import strategies
from trainer.numerics import exact
from trainer.optimization.objectives import make_objective
from trainer.runs.checkpoint_saver import Retention, Saver
from trainer.training import loop
from trainer.training.steps import Steps

_NUM_TURNS = 5
# Pause after each call of the compiled loop, at most one turn. Meanwhile a thread draws
# pictures, as it does between two pictures of a real run.
_REST_SECONDS = 1.0
# With these cadences, each task is due alone at two steps or more, and some steps have
# no task.
_CADENCE = {
    "log_every_steps": 2,
    "image_every_steps": 5,
    "eval_every_steps": 7,
    "num_train_steps": 22,
    "checkpoint_every_secs": 3600,
    "show_neighbours": False,
}


class BareSteps(Steps):
    """Steps that keep no ledger and do not measure the wait for data."""

    @tf.autograph.experimental.do_not_convert
    def _next(self, batches: Any, is_clocked: tf.Tensor) -> tuple[Any, tf.Tensor]:
        del is_clocked
        return next(batches), tf.constant(0.0, tf.float64)

    def _examples(self, batch: Any) -> tuple[Any, tf.Tensor]:
        examples, _ = super()._examples(batch)
        return examples, tf.constant(0, tf.int64)


class TimedSteps(Steps):
    """Steps that record the start and end of each call of the compiled loop."""

    calls: list[tuple[float, float, int]] = []
    rest_seconds = _REST_SECONDS

    def train(self, batches: Any, num_steps: tf.Tensor) -> Any:
        """Makes the steps."""
        start_seconds = time.monotonic()
        found = super().train(batches, num_steps)
        time.sleep(self.rest_seconds)
        step = int(self._state.step.numpy())
        # A call for no steps only compiles.
        if int(num_steps):
            self.calls.append((start_seconds, time.monotonic(), step))
        return found


def seconds_between_steps(
    config: ConfigDict, dataset: str, strategy: tf.distribute.Strategy
) -> dict[str, float]:
    """Trains for some steps, and measures the time between them by the task due.

    Returns:
        Median seconds between two calls of the compiled loop, by the cadence setting of
        the task that is due, and by "" where no task is due. Excludes the work of the
        thread that draws pictures.
    """
    config = config.copy_and_resolve_references()
    config.update(_CADENCE)
    loop.Steps = TimedSteps
    with tempfile.TemporaryDirectory() as workdir:
        loop.train(config, dataset, pathlib.Path(workdir), strategy)
    gaps: dict[str, list[float]] = {}
    # Skip the first call, which traces, and the tasks after it, which run cold.
    for (_, end, step), (start, _, _) in zip(
        TimedSteps.calls[1:], TimedSteps.calls[2:], strict=False
    ):
        due = [name for name in _CADENCE if name.endswith("_steps")]
        due = [name for name in due if step % _CADENCE[name] == 0]
        if len(due) < 2:
            gaps.setdefault("".join(due), []).append(start - end)
    return {name: statistics.median(each) for name, each in gaps.items()}


def measure(
    config_file: str, dataset: str, turn_seconds: float = 1.5
) -> dict[str, Any]:
    """Measures the work of a config's run outside its steps; seconds are medians.

    Args:
        config_file: File name in `configs/`.
        dataset: Dataset directory for validations and pictures.
        turn_seconds: Duration of the steps that are timed together, in seconds.

    Returns:
        `bare`: seconds of a step without ledger and clocks. `with_ledger`: time of a
        step with ledger and clocks, relative to `bare`. `checkpoint`: seconds that
        writing a checkpoint adds to the steps meanwhile. `between`: the result of
        `seconds_between_steps`. Also the config's cadence settings.
    """
    TimedSteps.rest_seconds = min(_REST_SECONDS, turn_seconds)
    exact.configure()
    strategy = strategies.make_strategy()
    manifest = contract.load_manifest(dataset)
    config = compiled.load_config(config_file, strategy, {})
    run = compiled.make_run(config, strategy, manifest.image_shape)
    objective = make_objective(config, math.prod(manifest.image_shape))
    bare = BareSteps.of_run(
        strategy, run.state, objective, config, manifest.image_shape
    )

    def seconds(steps: Steps, num_steps: int) -> float:
        start_seconds = time.monotonic()
        steps.train(run.batches, tf.constant(num_steps, tf.int64))[0].numpy()
        return time.monotonic() - start_seconds

    seconds(bare, 1)
    seconds(run.steps, 1)
    num_steps = max(1, round(turn_seconds / seconds(bare, 1)))
    rounds = []
    for number in range(_NUM_TURNS):
        if number % 2:
            with_ledger = seconds(run.steps, num_steps)
        plain = seconds(bare, num_steps)
        if not number % 2:
            with_ledger = seconds(run.steps, num_steps)
        rounds.append((plain, with_ledger))
    with tempfile.TemporaryDirectory() as workdir:
        saver = Saver(pathlib.Path(workdir), Retention(1))
        checkpoints = []
        for number in range(_NUM_TURNS):
            plain = seconds(bare, num_steps)
            start_seconds = time.monotonic()
            saver.save(number, run.state.arrays(), {})
            seconds(bare, num_steps)
            saver.wait()
            checkpoints.append(time.monotonic() - start_seconds - plain)
        saver.close()
    return {
        "bare": statistics.median(plain for plain, _ in rounds) / num_steps,
        "with_ledger": statistics.median(ours / plain for plain, ours in rounds),
        "checkpoint": statistics.median(checkpoints),
        "between": seconds_between_steps(config, dataset, strategy),
        **{name: config[name] for name in _CADENCE if name != "show_neighbours"},
    }


if __name__ == "__main__":
    config_file, dataset, *turn_seconds = sys.argv[1:]
    found = measure(config_file, dataset, *map(float, turn_seconds))
    print(json.dumps(found), flush=True)
    # Skip the clean-up: no distributed iterator is freed; see `strategies.iterate`.
    os._exit(0)
