"""Functions that kill a trainer at a chosen moment."""

import json
import pathlib
import random
import signal
import subprocess
import time

from tests import preloaded
from tests.chaos import trainers

# Limits of one start before its kill. The run is longer than all starts together.
_MAX_STEPS, _MAX_SECONDS = 3, 8.0


def kill_in_a_start(
    process: subprocess.Popen[str], workdir: pathlib.Path, rng: random.Random
) -> bool:
    """Kills after a random time, during startup or in the first steps."""
    limit = time.monotonic() + rng.uniform(0, _MAX_SECONDS)
    step = trainers.last_step(workdir) + _MAX_STEPS
    trainers.wait_until(
        process,
        lambda: time.monotonic() > limit or trainers.last_step(workdir) >= step,
    )
    preloaded.send(process, signal.SIGKILL)
    return True


def kill_in_steps(
    process: subprocess.Popen[str], workdir: pathlib.Path, rng: random.Random
) -> bool:
    """Kills between two checkpoints or while one is written."""
    _make_steps(process, workdir, rng)
    time.sleep(rng.uniform(0, 0.03))
    preloaded.send(process, signal.SIGKILL)
    return True


def kill_in_a_checkpoint(
    process: subprocess.Popen[str], workdir: pathlib.Path, rng: random.Random
) -> bool:
    """Kills during a checkpoint write; returns whether the write was unfinished."""
    _make_steps(process, workdir, rng)
    folder = workdir / "checkpoints"
    trainers.wait_until(process, lambda: any(folder.glob(".tmp-*")), pause=0)
    preloaded.send(process, signal.SIGKILL)
    process.wait()
    return any(folder.glob(".tmp-*"))


def kill_in_an_event_flush(
    process: subprocess.Popen[str], workdir: pathlib.Path, rng: random.Random
) -> bool:
    """Kills after an event flush.

    Returns:
        Whether no checkpoint is newer than the last logged step.
    """
    _make_steps(process, workdir, rng)
    path = max((workdir / "train").glob("events*"))
    size = path.stat().st_size
    trainers.wait_until(process, lambda: path.stat().st_size != size, pause=0)
    preloaded.send(process, signal.SIGKILL)
    process.wait()
    return last_logged(workdir) >= trainers.last_step(workdir)


KILLS = (
    kill_in_a_checkpoint,
    kill_in_an_event_flush,
    kill_in_steps,
    kill_in_a_start,
)


def _make_steps(
    process: subprocess.Popen[str], workdir: pathlib.Path, rng: random.Random
) -> None:
    """Waits until the trainer has saved one to `_MAX_STEPS` further steps."""
    step = trainers.last_step(workdir) + rng.randint(1, _MAX_STEPS)
    trainers.wait_until(process, lambda: trainers.last_step(workdir) >= step)


def last_logged(workdir: pathlib.Path) -> int:
    """Returns the step of the last whole line of metrics.jsonl; 0 if it has none."""
    path = workdir / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    steps = [json.loads(line)["step"] for line in lines if line.endswith(b"\n")]
    return max(steps, default=0)
