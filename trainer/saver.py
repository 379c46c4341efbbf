"""Writes checkpoints while the run goes on, and decides which of them stay."""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging

from trainer import checkpoints
from trainer.background import Background


@dataclasses.dataclass(frozen=True)
class Retention:
    """Which checkpoints stay.

    Attributes:
        num_newest: So many of the newest.
        num_best: So many of those whose `elbo` is the highest, of those that have one.
        every_steps: Those of steps that it divides; 0 for none.
    """

    num_newest: int
    num_best: int = 0
    every_steps: int = 0


class Saver:
    """Writes one checkpoint at a time, in a thread; a step never waits for the disk.

    What a checkpoint holds is copied when it is asked for, so that the run may go on at
    once. A second one waits until the first is whole.
    """

    def __init__(self, directory: pathlib.Path, retention: Retention) -> None:
        """Writes nothing yet."""
        self._directory = directory
        self._retention = retention
        self._background = Background("checkpoints")

    def save(
        self, step: int, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]
    ) -> None:
        """Begins to write a checkpoint, once the one before is whole.

        Args:
            step: Of the state.
            arrays: The state, by name; not to be changed any more.
            meta: What else to remember: JSON values. An `elbo` counts for retention.

        Raises:
            OSError: If the one before could not be written.
        """
        self._background.start(self._write, step, arrays, meta)

    def is_among_best(self, elbo: float | None) -> bool:
        """Returns whether a checkpoint of this ELBO would stay for it."""
        num_best = self._retention.num_best
        if elbo is None or not num_best:
            return False
        self.wait()
        best = best_elbos(self._directory, num_best)
        return len(best) < num_best or elbo > best[-1]

    def wait(self) -> None:
        """Returns once every checkpoint is whole.

        Raises:
            OSError: If one could not be written; older ones are as they were.
        """
        self._background.wait()

    def check(self) -> None:
        """Does what `wait` does, if that takes no time."""
        self._background.check()

    def close(self) -> None:
        """Does what `wait` does, and ends the thread."""
        self._background.close()

    def _write(
        self, step: int, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]
    ) -> None:
        path = checkpoints.save(self._directory, step, arrays, meta)
        logging.info("checkpoint of step %d in %s", step, path)
        remove_old(self._directory, self._retention)


def remove_old(directory: pathlib.Path, retention: Retention) -> None:
    """Removes the checkpoints that `retention` does not keep."""
    paths = checkpoints.list_newest_first(directory)
    kept = set(paths[: retention.num_newest])
    if retention.every_steps:
        kept |= {
            path
            for path in paths
            if checkpoints.step_of(path) % retention.every_steps == 0
        }
    elbos = {path: elbo for path in paths if (elbo := _elbo(path)) is not None}
    # Of equal ones the newer.
    best = sorted(elbos, key=lambda path: elbos[path], reverse=True)
    kept |= set(best[: retention.num_best])
    for path in paths:
        if path not in kept:
            shutil.rmtree(path)


def best_elbos(directory: pathlib.Path, number: int) -> list[float]:
    """Returns the highest `elbo` of the checkpoints, the best first."""
    elbos = map(_elbo, checkpoints.list_newest_first(directory))
    found = [elbo for elbo in elbos if elbo is not None]
    return sorted(found, reverse=True)[:number]


def _elbo(path: pathlib.Path) -> float | None:
    """Returns what a checkpoint's evaluation gave; None if there was none."""
    try:
        elbo = json.loads((path / checkpoints.META_NAME).read_text()).get("elbo")
    except (OSError, ValueError, AttributeError):
        return None
    return elbo if isinstance(elbo, float) else None
