"""Hosts of a cluster that die, hang or never appear."""

import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from pipeline.process import ports
from tests import preloaded
from tests.chaos import trainers
from tests.chaos.reliability import scenario
from tests.trainer.trained_runs import Run
from trainer.distribution.cluster import Cluster

_LAUNCH = {"module": "trainer.launch"}
_PAIR = "--num_processes=2"


def free_addresses(number: int) -> tuple[str, ...]:
    """Returns addresses of this machine that no process listens on."""
    return tuple(f"127.0.0.1:{port}" for port in ports.find_free(number))


def start_pair(
    dataset: pathlib.Path, workdir: pathlib.Path
) -> list[subprocess.Popen[str]]:
    """Starts two hosts without a launcher, the chief first."""
    addresses = free_addresses(2)
    return [
        trainers.start(
            dataset, workdir, tf_config=Cluster(addresses, index, "").tf_config()
        )
        for index in range(2)
    ]


@scenario("SIGKILL to one of two hosts, under trainer.launch")
def test_a_host_that_dies(undisturbed: Run, tiny_dir, tmp_path, row) -> None:
    workdir = tmp_path / "run"
    launcher = trainers.start(tiny_dir, workdir, _PAIR, **_LAUNCH)
    trainers.wait_for_checkpoint(launcher, workdir, 10)
    os.kill(preloaded.copy_of(trainers.children(launcher)[0]), signal.SIGKILL)
    run = trainers.end(launcher, workdir)
    assert "process 0 ended with SIGKILL" in run.output
    assert "restart 1 of 3, from the last checkpoint" in run.output
    resumed = re.search(r"resuming at step (\d+)", run.output)
    assert resumed is not None
    # The kill came after the checkpoint of step 10.
    assert int(resumed[1]) >= 10
    trainers.assert_same(run, undisturbed)
    row(
        "all start again from the last checkpoint",
        "nothing",
        "process 0 ended with SIGKILL",
    )


@scenario("SIGSTOP to one of two hosts, under trainer.launch")
def test_a_host_that_hangs(undisturbed: Run, tiny_dir, tmp_path, row) -> None:
    workdir = tmp_path / "run"
    launcher = trainers.start(tiny_dir, workdir, _PAIR, **_LAUNCH)
    trainers.wait_for_checkpoint(launcher, workdir, 10)
    pids = trainers.children(launcher)
    at_work = list(map(preloaded.copy_of, pids))
    os.kill(at_work[1], signal.SIGSTOP)
    stopped_at = time.monotonic()
    trainers.wait_until(launcher, lambda: set(trainers.children(launcher)) != set(pids))
    # TensorFlow's own health check would take two minutes.
    seconds = time.monotonic() - stopped_at
    assert seconds < 60
    run = trainers.end(launcher, workdir)
    (message,) = re.findall(r"error: host 1 .*", run.output)
    trainers.assert_same(run, undisturbed)
    for pid in {*pids, *at_work}:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    row(f"noticed after {seconds:.0f} s; all start again", "nothing", message)


@scenario("SIGKILL to one of two hosts that were started by hand", only_full=True)
def test_a_host_without_a_launcher(undisturbed: Run, tiny_dir, tmp_path, row) -> None:
    workdir = tmp_path / "run"
    chief, other = start_pair(tiny_dir, workdir)
    trainers.wait_for_checkpoint(chief, workdir, 10)
    trainers.kill(other, workdir)
    message = trainers.complaint(trainers.end(chief, workdir), code=5)
    assert "host 1 (127.0.0.1:" in message
    pair = start_pair(tiny_dir, workdir)
    chief, other = (trainers.end(process, workdir) for process in pair)
    assert other.returncode == 0
    trainers.assert_same(chief, undisturbed)
    row(
        "the other ends with exit code 5",
        "nothing, once both are started again",
        message,
    )


@scenario("a host that never appears", only_full=True)
def test_a_host_that_never_appears(tiny_dir, tmp_path, row) -> None:
    addresses = free_addresses(2)
    config = Cluster(addresses, 0, "").tf_config()
    # The trainer waits for 45 s; TensorFlow alone would wait for eleven minutes.
    run = trainers.run(tiny_dir, tmp_path / "run", tf_config=config)
    message = trainers.complaint(run, code=5)
    assert f"no answer from {addresses[1]} in 45 s" in message
    row("exit code 5 after 45 s", "nothing", message)
