"""Kills or stops a run at any moment; it must resume as if uninterrupted."""

import random
import signal

import pytest

from tests.chaos import kills, trainers
from tests.chaos.kills import KILLS
from tests.chaos.reliability import IS_FULL, scenario
from tests.trainer.trained_runs import Run

_NUM_KILLS = 30 if IS_FULL else 4


@scenario("SIGKILL at 30 moments of one run")
@pytest.mark.timeout(1800)
def test_killed_at_any_moment(undisturbed: Run, tiny_dir, tmp_path, row) -> None:
    rng = random.Random(0)
    workdir = tmp_path / "run"
    hits = dict.fromkeys(KILLS, 0)
    repeated = 0
    for number in range(_NUM_KILLS):
        kill = KILLS[number % len(KILLS)]
        process = trainers.start(tiny_dir, workdir)
        hits[kill] += kill(process, workdir, rng)
        killed = trainers.end(process, workdir)
        assert killed.returncode == -signal.SIGKILL, killed.output
        repeated += max(
            0, kills.last_logged(workdir) - max(0, trainers.last_step(workdir))
        )
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
        step = kills.last_logged(workdir)
        assert trainers.last_step(workdir) == step
        trainers.assert_same_state(workdir, undisturbed, step)
        message = f"stopped at step {step} by {number.name}, with a checkpoint"
        assert message in stopped.output
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
    # When config.json appears, the first step is not compiled yet.
    trainers.wait_until(process, lambda: (workdir / "config.json").exists())
    process.send_signal(signal.SIGINT)
    stopped = trainers.end(process, workdir)
    assert stopped.returncode == 130, stopped.output
    row("exit code 130", "nothing", stopped.output.splitlines()[-1])
