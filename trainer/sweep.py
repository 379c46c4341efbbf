"""Trains one run for every combination of some settings' values.

    python -m trainer.sweep --config=configs/celeba.py --dataset=DIR --workdir=DIR \
        --sweep=latent_dim=2,8,32 --sweep=learning_rate=1e-3,3e-4

Each run is a trainer.train in the folder of the workdir that its values name, and what
it says is in train.log there. Flags that are not below go to all runs. The same
command goes on where it was stopped. At the end, results.csv and results.md compare
the runs.

Exit codes: 0 all are done; 1 a setting, file or flag is wrong, or a run failed;
128 + signal when a signal stopped it, after a checkpoint of each run.
"""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from absl import flags, logging

from pipeline import contract
from pipeline.process import entry, limits, path_flags
from pipeline.storage import files
from trainer import train
from trainer.cli import command_line, config_files
from trainer.distribution import cluster, strategies
from trainer.operations import sweep_results
from trainer.operations.sweep_plan import Run, make_plan
from trainer.runs import checkpoints, settings, workdir
from trainer.system import subprocesses
from trainer.system.signals import STOPPING

_SWEEP = flags.DEFINE_multi_string(
    "sweep",
    None,
    "NAME=VALUE,VALUE,...: a setting of the config, and what to try; given again, "
    "every combination is. Commas inside of parentheses are a value's own.",
    required=True,
)
_PARALLEL = flags.DEFINE_integer(
    "parallel", 1, "How many runs train at a time.", lower_bound=1
)
flags.adopt_module_key_flags(train)

# Seen before the required flags are missed.
_HELP_FLAGS = ("help", "helpshort", "helpfull", "helpxml")
_LOG_NAME = "train.log"
_POLL_SECS = 0.1


@dataclasses.dataclass(frozen=True)
class _Training:
    """A run's process, since when it is there, and where its part of the log begins."""

    run: Run
    process: subprocess.Popen[str]
    started_at: float
    log_offset: int


class Sweep:
    """Runs that train, some at a time.

    Attributes:
        statuses: Of each run by its name, for the table.
        stopped_by: The first signal that asked all to stop, or None.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        """Finds out which runs are finished, and starts none."""
        self._runs = runs
        self._running: dict[str, _Training] = {}
        self.statuses = {run.name: "waiting" for run in runs}
        self.stopped_by: int | None = None

    def train(self, num_parallel: int) -> None:
        """Has all runs train that are not finished.

        Args:
            num_parallel: How many at a time.
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
            self._say(run, "kept, done at step %d", run.config.num_train_steps)
            return
        try:
            files.make_directory(run.workdir)
            with open(log_path(run), "a", encoding="utf-8") as log:
                offset = log.tell()
                started = subprocesses.start_training(run.train_flags, log)
        # Those that train go on.
        except OSError as error:
            self.statuses[run.name] = "failed to start"
            self._say(run, "failed to start (%s)", limits.error_text(error))
            return
        self._running[run.name] = _Training(run, started, time.monotonic(), offset)
        # One that came before the process was known.
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
    """Returns where everything is that a run said."""
    return run.workdir / _LOG_NAME


def _last_error(run: Run, log_offset: int) -> str:
    with open(log_path(run), "rb") as file:
        file.seek(log_offset)
        lines = file.read().decode(errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    if not lines:
        return " (and could write nothing to its log: is the disk full?)"
    return f" ({errors[-1]})" if errors else ""


def is_finished(run: Run) -> bool:
    """Returns whether a run has the checkpoint of its last step, undamaged."""
    paths = checkpoints.list_newest_first(run.workdir / "checkpoints")
    is_there = paths and checkpoints.step_of(paths[0]) == run.config.num_train_steps
    return bool(is_there) and checkpoints.is_whole(paths[0])


def check(runs: Sequence[Run], dataset_dir: str, num_replicas: int) -> None:
    """Checks what can be known before a run starts.

    Raises:
        ValueError: If a run's settings are out of range, are not those that its
            directory was begun with, or have it train without end.
        OSError: If a directory cannot be read.
    """
    manifest = contract.load_manifest(dataset_dir)
    for run in runs:
        try:
            resolved = settings.resolve(run.config, num_replicas)
            workdir.check(run.workdir, resolved, manifest)
        except ValueError as error:
            raise ValueError(f"{run.name}: {error}") from error
        if resolved.num_train_steps == -1:
            raise ValueError(
                f"{run.name}: --config.num_train_steps=-1 never ends, and the next run "
                "would never begin: give a number of steps"
            )


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line, and returns the flags that go to all runs."""
    own = flags.FlagValues()
    for name in (_SWEEP.name, _PARALLEL.name, "workdir", *_HELP_FLAGS):
        own[name] = flags.FLAGS[name]
    try:
        argv = config_files.expanded(argv)
        program, *train_flags = own(list(argv), known_only=True)
    except (flags.Error, ValueError) as error:
        entry.refuse(error)
    # The others, which only train reads.
    command_line.parse_flags([program, *train_flags])
    return [program, *train_flags]


def main(argv: list[str]) -> None:
    """Trains what the flags describe."""
    command_line.log_with_times()
    sweep_dir = pathlib.Path(flags.FLAGS.workdir)
    try:
        devices = strategies.choose_devices(
            flags.FLAGS.num_gpus, flags.FLAGS.virtual_devices
        )
        hosts = cluster.find_cluster(os.environ)
        runs = make_plan(_SWEEP.value, argv[1:], sweep_dir)
        num_hosts = len(hosts.addresses) if hosts else 1
        check(runs, flags.FLAGS.dataset, num_hosts * len(devices))
        sweep = Sweep(runs)
        sweep.train(_PARALLEL.value)
        table = sweep_results.make_table(runs, sweep.statuses)
    except (ValueError, OSError) as error:
        entry.fail(error)
    print(sweep_results.as_markdown(table), end="")
    try:
        sweep_results.write(table, sweep_dir)
    except OSError as error:
        entry.fail(error)
    logging.info(
        "results in %s and results.md; see all runs with\n  %s",
        sweep_dir / "results.csv",
        path_flags.command("trainer.tensorboard", workdir=sweep_dir),
    )
    failed = [run for run in runs if sweep.statuses[run.name].startswith("failed")]
    for run in failed:
        status = sweep.statuses[run.name]
        logging.error("%s %s; log: %s", run.name, status, log_path(run))
    if sweep.stopped_by:
        logging.info(
            "stopped by %s: run the same command to go on",
            signal.Signals(sweep.stopped_by).name,
        )
        sys.exit(128 + sweep.stopped_by)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    entry.run(main, flags_parser=parse_flags)
