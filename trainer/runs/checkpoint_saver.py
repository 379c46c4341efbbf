"""Writes checkpoints while the run continues, and removes old ones (retention)."""

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
    """Settings of checkpoint retention.

    Attributes:
        num_newest: Number of newest whole checkpoints to keep.
        num_best: Number of whole checkpoints with the highest `elbo` to keep.
        every_steps: Interval in steps between checkpoints that are always kept; 0 for
            none.
    """

    num_newest: int
    num_best: int = 0
    every_steps: int = 0


class Saver:
    """Writes one checkpoint at a time in a thread, while the run continues.

    The caller passes a copy of the state. `save` returns at once, unless the previous
    checkpoint is still being written.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        retention: Retention,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepares the thread; writes nothing yet.

        Args:
            directory: Directory of the checkpoints.
            retention: Settings of checkpoint retention.
            before: Function that the thread calls before it writes a checkpoint.
        """
        self._directory = directory
        self._retention = retention
        self._before = before
        self._background = Background("checkpoints")

    def save(
        self, step: int, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]
    ) -> None:
        """Waits for the previous checkpoint, then starts to write the next.

        Args:
            step: Step of the state.
            arrays: Arrays of the state by name. The caller must not change them.
            meta: Further JSON values to store. Retention uses the value of `elbo`.

        Raises:
            OSError: If the previous checkpoint could not be written.
        """
        self._background.start(self._write, step, arrays, meta)

    def is_among_best(self, elbo: float | None) -> bool:
        """Returns whether this ELBO would be among the best that retention keeps."""
        num_best = self._retention.num_best
        if elbo is None or not num_best:
            return False
        self.wait()
        best = best_elbos(self._directory, num_best)
        return len(best) < num_best or elbo > best[-1]

    def wait(self) -> None:
        """Waits until every checkpoint is complete.

        Raises:
            OSError: If a checkpoint could not be written; older checkpoints are
                unchanged.
        """
        self._background.wait()

    def check(self) -> None:
        """Raises the error of `wait` if a write has failed; never waits."""
        self._background.check()

    def close(self) -> None:
        """Calls `wait` and ends the thread."""
        self._background.close()

    def _write(
        self, step: int, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]
    ) -> None:
        self._before()
        path = checkpoints.save(self._directory, step, arrays, meta)
        logging.info("saved the checkpoint of step %d in %s", step, path)
        remove_old(self._directory, self._retention)


def remove_old(directory: pathlib.Path, retention: Retention) -> None:
    """Removes the checkpoints that `retention` does not keep.

    Only whole checkpoints count. A damaged checkpoint that `retention` would keep is
    set aside. The `num_newest` set-aside checkpoints with the highest steps stay for
    inspection.
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
    """Yields the first `number` whole checkpoints; sets damaged checkpoints aside."""
    for path in paths:
        if not number:
            return
        if is_whole(path):
            number -= 1
            yield path
        else:
            checkpoints.set_aside(path)


def _best_first(paths: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """Returns the checkpoints with an `elbo`, best first; ties keep their order."""
    elbos = {path: elbo for path in paths if (elbo := _elbo(path)) is not None}
    return sorted(elbos, key=lambda path: elbos[path], reverse=True)


def best_elbos(directory: pathlib.Path, number: int) -> list[float]:
    """Returns the `number` highest `elbo` values of whole checkpoints, best first."""
    paths = _best_first(checkpoints.list_newest_first(directory))
    whole = itertools.islice(filter(checkpoints.is_whole, paths), number)
    return [elbo for elbo in map(_elbo, whole) if elbo is not None]


def _elbo(path: pathlib.Path) -> float | None:
    """Returns the ELBO in a checkpoint's metadata, or None if it has none."""
    try:
        elbo = checkpoints.read_meta(path).get("elbo")
    except checkpoints.CheckpointError:
        return None
    return elbo if isinstance(elbo, float) and math.isfinite(elbo) else None
