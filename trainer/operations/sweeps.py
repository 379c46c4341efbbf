"""A sweep: runs that train in parallel or in turn, each in its own process."""

import dataclasses
import pathlib
import signal
import subprocess
import time
from collections.abc import Sequence

from absl import logging

from pipeline.process import arguments, limits
from pipeline.storage import files, manifests
from trainer.operations.sweep_plan import Run
from trainer.runs import checkpoints, settings, workdir
from trainer.system import subprocesses
from trainer.system.signals import STOPPING

_LOG_NAME = "train.log"
_POLL_SECS = 0.1


@dataclasses.dataclass(frozen=True)
class _Training:
    """A run's process, its start time, and the offset of its part of the log."""

    run: Run
    process: subprocess.Popen[str]
    started_at: float
    log_offset: int


class Sweep:
    """Trains runs, a limited number at a time.

    Attributes:
        statuses: Status of each run by its name, for the table.
        stopped_by: First signal that asked all runs to stop, or None.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        """Marks all runs as waiting; starts none."""
        self._runs = runs
        self._running: dict[str, _Training] = {}
        self.statuses = {run.name: "waiting" for run in runs}
        self.stopped_by: int | None = None

    def train(self, num_parallel: int) -> None:
        """Trains all runs that are not finished.

        Args:
            num_parallel: Number of runs at a time.
        """
        for number in STOPPING:
            signal.signal(number, self._hand_on)
        waiting = list(self._runs)
        while self._running or (waiting and not self.stopped_by):
            while waiting and len(self._running) < num_parallel and not self.stopped_by:
                self._start(waiting.pop(0))
            for training in list(self._running.values()):
                if training.process.poll() is not None:
                    self._note_end(training)
            time.sleep(_POLL_SECS)

    def _start(self, run: Run) -> None:
        if is_finished(run):
            self.statuses[run.name] = "done"
            self._say(run, "already done at step %d", run.config.num_train_steps)
            return
        try:
            files.make_directory(run.workdir)
            with open(log_path(run), "a", encoding="utf-8") as log:
                offset = log.tell()
                started = subprocesses.start_training(run.train_flags, log)
        # Raise nothing: the runs that already train go on.
        except OSError as error:
            self.statuses[run.name] = "failed to start"
            text = arguments.in_command(limits.error_text(error))
            self._say(run, "failed to start (%s)", text)
            return
        self._running[run.name] = _Training(run, started, time.monotonic(), offset)
        # Forward a signal that arrived before the process was in `_running`.
        if self.stopped_by:
            subprocesses.send([started], self.stopped_by)
        self._say(run, "started; log: %s", log_path(run))

    def _note_end(self, training: _Training) -> None:
        run = self._running.pop(training.run.name).run
        code = subprocesses.exit_code(training.process.returncode)
        seconds = time.monotonic() - training.started_at
        if not code:
            self.statuses[run.name] = "done"
            self._say(run, "done in %.0f s", seconds)
        elif self.stopped_by:
            self.statuses[run.name] = "stopped"
            self._say(run, "stopped after %.0f s", seconds)
        else:
            self.statuses[run.name] = f"failed with {subprocesses.describe(code)}"
            reason = _last_error(run, training.log_offset)
            self._say(run, "%s%s", self.statuses[run.name], reason)

    def _hand_on(self, number: int, frame: object) -> None:
        del frame
        self.stopped_by = self.stopped_by or number
        processes = [training.process for training in self._running.values()]
        subprocesses.send(processes, number)

    def _say(self, run: Run, text: str, *values: object) -> None:
        place = [other.name for other in self._runs].index(run.name) + 1
        logging.info(f"[{place}/{len(self._runs)}] {run.name}: {text}", *values)


def log_path(run: Run) -> pathlib.Path:
    """Returns the path of the log with all output of a run."""
    return run.workdir / _LOG_NAME


def _last_error(run: Run, log_offset: int) -> str:
    with open(log_path(run), "rb") as file:
        file.seek(log_offset)
        lines = file.read().decode(errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    if not lines:
        return " (its log is empty: check whether the disk is full)"
    return f" ({errors[-1]})" if errors else ""


def is_finished(run: Run) -> bool:
    """Returns whether a run has an undamaged checkpoint of its last step."""
    paths = checkpoints.list_newest_first(run.workdir / "checkpoints")
    is_there = paths and checkpoints.step_of(paths[0]) == run.config.num_train_steps
    return bool(is_there) and checkpoints.is_whole(paths[0])


def check(runs: Sequence[Run], dataset_dir: str, num_replicas: int) -> None:
    """Checks the settings and workdirs of all runs before any run starts.

    Raises:
        ValueError: If a run's settings are out of range, differ from the settings that
            its directory holds, or set no last step.
        OSError: If a directory cannot be read.
    """
    manifest = manifests.load_local(dataset_dir)
    for run in runs:
        try:
            resolved = settings.resolve(run.config, num_replicas)
            workdir.check(run.workdir, resolved, manifest)
        except ValueError as error:
            raise ValueError(f"{run.name}: {error}") from error
        if resolved.num_train_steps == -1:
            raise ValueError(
                f"{run.name}: config.num_train_steps=-1 never ends, so the next run "
                "would never begin: give a number of steps"
            )
