"""Writes checkpoints while the run goes on, and decides which of them stay."""

import dataclasses
import functools
import itertools
import math
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from absl import logging

from trainer.runs import checkpoints
from trainer.system.background import Background


@dataclasses.dataclass(frozen=True)
class Retention:
    """Which checkpoints stay.

    Attributes:
        num_newest: Number of the newest whole checkpoints that stay.
        num_best: Number of the whole checkpoints with the highest `elbo` that stay.
        every_steps: The checkpoints of the steps that it divides stay; 0 for none.
    """

    num_newest: int
    num_best: int = 0
    every_steps: int = 0


class Saver:
    """Writes one checkpoint at a time, in a thread; a step never waits for the disk.

    What a checkpoint holds is copied when it is asked for, so that the run may go on at
    once. A second one waits until the first is whole.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        retention: Retention,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """Writes nothing yet.

        Args:
            directory: Where checkpoints lie.
            retention: Which of them stay.
            before: Is called in the thread before each checkpoint is written.
        """
        self._directory = directory
        self._retention = retention
        self._before = before
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
        self._before()
        path = checkpoints.save(self._directory, step, arrays, meta)
        logging.info("checkpoint of step %d in %s", step, path)
        remove_old(self._directory, self._retention)


def remove_old(directory: pathlib.Path, retention: Retention) -> None:
    """Removes the checkpoints that `retention` does not keep.

    It counts whole ones alone. A damaged one that it would keep is set aside; the
    `num_newest` of the highest steps stay so, for their owner to look at.
    """
    is_whole = functools.cache(checkpoints.is_whole)
    paths = checkpoints.list_newest_first(directory)
    kept = set(_keep(paths, retention.num_newest, is_whole))
    best = _best_first(checkpoints.list_newest_first(directory))
    kept |= set(_keep(best, retention.num_best, is_whole))
    for path in checkpoints.list_newest_first(directory):
        step = checkpoints.step_of(path)
        is_due = retention.every_steps and step % retention.every_steps == 0
        if path not in kept and not is_due:
            checkpoints.remove(path)
    for path in checkpoints.list_set_aside(directory)[retention.num_newest :]:
        logging.info("removing %s, the oldest of the damaged checkpoints", path)
        checkpoints.remove(path)


def _keep(
    paths: Iterable[pathlib.Path], number: int, is_whole: Callable[[pathlib.Path], bool]
) -> Iterator[pathlib.Path]:
    """Yields the first so many whole ones, and sets aside those that are damaged."""
    for path in paths:
        if not number:
            return
        if is_whole(path):
            number -= 1
            yield path
        else:
            checkpoints.set_aside(path)


def _best_first(paths: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """Returns the checkpoints that have an `elbo`; of equal ones the first first."""
    elbos = {path: elbo for path in paths if (elbo := _elbo(path)) is not None}
    return sorted(elbos, key=lambda path: elbos[path], reverse=True)


def best_elbos(directory: pathlib.Path, number: int) -> list[float]:
    """Returns the highest `elbo` of the whole checkpoints, the best first."""
    paths = _best_first(checkpoints.list_newest_first(directory))
    whole = itertools.islice(filter(checkpoints.is_whole, paths), number)
    return [elbo for elbo in map(_elbo, whole) if elbo is not None]


def _elbo(path: pathlib.Path) -> float | None:
    """Returns what a checkpoint's evaluation gave; None if there was none."""
    try:
        elbo = checkpoints.read_meta(path).get("elbo")
    except checkpoints.CheckpointError:
        return None
    return elbo if isinstance(elbo, float) and math.isfinite(elbo) else None
