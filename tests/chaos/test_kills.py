"""Killed at any moment, or asked to stop, a run goes on as if nothing had been."""

import json
import pathlib
import random
import signal
import subprocess
import time

import pytest

import trainers
from reliability import IS_FULL, scenario
from runs import Run

_NUM_KILLS = 30 if IS_FULL else 4
# Of a life, before the kill: all of them together are less than the run.
_MAX_STEPS, _MAX_SECONDS = 3, 8.0


def kill_in_a_start(
    process: subprocess.Popen[str], workdir: pathlib.Path, rng: random.Random
) -> bool:
    """Kills after a time in which a trainer starts, and makes its first steps."""
    limit = time.monotonic() + rng.uniform(0, _MAX_SECONDS)
    step = trainers.last_step(workdir) + _MAX_STEPS
    trainers.wait_until(
        process,
        lambda: time.monotonic() > limit or trainers.last_step(workdir) >= step,
    )
    process.kill()
    return True


def kill_in_steps(
    process: subprocess.Popen[str], workdir: pathlib.Path, rng: random.Random
) -> bool:
    """Kills between two checkpoints, or in one."""
    _make_steps(process, workdir, rng)
    time.sleep(rng.uniform(0, 0.03))
    process.kill()
    return True


def kill_in_a_checkpoint(
    process: subprocess.Popen[str], workdir: pathlib.Path, rng: random.Random
) -> bool:
    """Kills while a checkpoint is written; returns whether it was then in the midst."""
    _make_steps(process, workdir, rng)
    folder = workdir / "checkpoints"
    trainers.wait_until(process, lambda: any(folder.glob(".tmp-*")), pause=0)
    process.kill()
    process.wait()
    return any(folder.glob(".tmp-*"))


def kill_in_an_event_flush(
    process: subprocess.Popen[str], workdir: pathlib.Path, rng: random.Random
) -> bool:
    """Kills when events have grown; returns whether no checkpoint has their step."""
    _make_steps(process, workdir, rng)
    path = max((workdir / "train").glob("events*"))
    size = path.stat().st_size
    trainers.wait_until(process, lambda: path.stat().st_size != size, pause=0)
    process.kill()
    process.wait()
    return last_logged(workdir) >= trainers.last_step(workdir)


_KILLS = (
    kill_in_a_checkpoint,
    kill_in_an_event_flush,
    kill_in_steps,
    kill_in_a_start,
)


def _make_steps(
    process: subprocess.Popen[str], workdir: pathlib.Path, rng: random.Random
) -> None:
    """Returns once some steps were made since the start."""
    step = trainers.last_step(workdir) + rng.randint(1, _MAX_STEPS)
    trainers.wait_until(process, lambda: trainers.last_step(workdir) >= step)


def last_logged(workdir: pathlib.Path) -> int:
    """Returns the step of the last whole line of metrics.jsonl, 0 without any."""
    path = workdir / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    steps = [json.loads(line)["step"] for line in lines if line.endswith(b"\n")]
    return max(steps, default=0)


@scenario("SIGKILL at 30 moments of one run")
@pytest.mark.timeout(1800)
def test_killed_at_any_moment(undisturbed: Run, tiny_dir, tmp_path, row) -> None:
    rng = random.Random(0)
    workdir = tmp_path / "run"
    hits = dict.fromkeys(_KILLS, 0)
    repeated = 0
    for number in range(_NUM_KILLS):
        kill = _KILLS[number % len(_KILLS)]
        process = trainers.start(tiny_dir, workdir)
        hits[kill] += kill(process, workdir, rng)
        killed = trainers.end(process, workdir)
        assert killed.returncode == -signal.SIGKILL, killed.output
        repeated += max(0, last_logged(workdir) - max(0, trainers.last_step(workdir)))
    assert all(hits.values()), hits
    resumed = trainers.run(tiny_dir, workdir)
    assert "resuming at step" in resumed.output
    trainers.assert_same(resumed, undisturbed)
    checkpoint, flush, steps, start = hits.values()
    row(
        f"{checkpoint} in a checkpoint's write, {flush} in an event flush, {steps} in "
        f"steps, {start} at a start; resumed each time",
        f"nothing; {repeated} steps were made twice",
    )


@scenario("SIGTERM, then Ctrl-C", only_full=True)
def test_asked_to_stop(undisturbed: Run, tiny_dir, tmp_path, row) -> None:
    workdir = tmp_path / "run"
    step = 0
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        process = trainers.start(tiny_dir, workdir)
        trainers.wait_for_checkpoint(process, workdir, step + 10)
        process.send_signal(number)
        stopped = trainers.end(process, workdir)
        assert stopped.returncode == code, stopped.output
        step = last_logged(workdir)
        assert trainers.last_step(workdir) == step
        trainers.assert_same_state(workdir, undisturbed, step)
        said = f"stopped at step {step} by {number.name}, with a checkpoint"
        assert said in stopped.output
    trainers.assert_same(trainers.run(tiny_dir, workdir), undisturbed)
    row(
        "a checkpoint, then exit code 143 or 130",
        "nothing",
        f"stopped at step {step} by SIGINT, with a checkpoint: run the same command "
        "to go on",
    )


@scenario("Ctrl-C while it starts")
def test_interrupted_before_the_first_step(tiny_dir, tmp_path, row) -> None:
    workdir = tmp_path / "run"
    process = trainers.start(tiny_dir, workdir)
    # The state is made, and what compiles the first step is still to come.
    trainers.wait_until(process, lambda: (workdir / "config.json").exists())
    process.send_signal(signal.SIGINT)
    stopped = trainers.end(process, workdir)
    assert stopped.returncode == 130, stopped.output
    row("exit code 130", "nothing", stopped.output.splitlines()[-1])
