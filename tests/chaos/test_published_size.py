"""The flagship at its published size, killed and moved to other devices and hosts."""

import os
import pathlib
import random
import signal

import pytest

from tests.chaos import trainers
from tests.chaos.kills import KILLS
from tests.chaos.reliability import scenario
from tests.trainer.trained_runs import Run, prepare, synthesize

_NUM_STEPS = 50
_FLAGS = (
    "--config.global_batch_size=64",
    f"--config.num_train_steps={_NUM_STEPS}",
    "--config.eval_every_steps=1000",
    "--config.image_every_steps=1000",
    "--config.show_neighbours=False",
    "--config.checkpoint_every_secs=0",
)
_SELDOM = "--config.checkpoint_every_secs=3600"
_PUBLISHED = {"config": "celeba", "model": _FLAGS}
_NUM_KILLS = 12
# Time limit of fifty steps on slow cores.
_SECONDS = 900


@pytest.fixture(scope="module")
def faces_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Returns a dataset of 600 synthetic faces at 128 px."""
    faces = synthesize(tmp_path_factory.mktemp("faces"), 600)
    return prepare(faces, tmp_path_factory.mktemp("dataset"), "--image_size=128")


@pytest.fixture(scope="module")
def one_device(
    faces_dir: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Returns an uninterrupted run of fifty steps on one device."""
    workdir = tmp_path_factory.mktemp("flagship") / "one"
    flags = (_SELDOM, "--virtual_devices=1")
    process = trainers.start(faces_dir, workdir, *flags, **_PUBLISHED)
    run = trainers.end(process, workdir, _SECONDS)
    assert run.returncode == 0, run.output
    return run


def assert_same(run: Run, reference: Run) -> None:
    """Checks every loss, gradient norm and ledger, and the bytes of the checkpoint."""
    assert run.returncode == 0, run.output
    assert sorted(run.metrics()) == list(range(1, _NUM_STEPS + 1))
    assert run.metrics() == reference.metrics()
    trainers.assert_same_state(run.workdir, reference, _NUM_STEPS)


@scenario("other devices and hosts, at the published size", only_full=True)
@pytest.mark.timeout(3600)
def test_other_devices_and_hosts(one_device: Run, faces_dir, tmp_path, row) -> None:
    for name, flags, how in (
        ("two", ["--virtual_devices=2"], {}),
        ("four", ["--virtual_devices=4"], {}),
        ("hosts", ["--num_processes=2"], {"module": "trainer.launch"}),
    ):
        workdir = tmp_path / name
        flags = [_SELDOM, *flags]
        process = trainers.start(faces_dir, workdir, *flags, **how, **_PUBLISHED)
        assert_same(trainers.end(process, workdir, _SECONDS), one_device)
    row(
        f"on 2 and 4 devices and on 2 hosts, {_NUM_STEPS} steps end in the same bytes "
        "as on one device",
        "nothing",
    )


@scenario(
    "SIGKILL at 12 moments of a run at the published size, which goes on with other "
    "cores and devices",
    only_full=True,
)
@pytest.mark.timeout(3600)
def test_killed_and_moved(
    one_device: Run, faces_dir, tmp_path, monkeypatch, row
) -> None:
    cores = sorted(os.sched_getaffinity(0))
    rng = random.Random(1)
    workdir = tmp_path / "run"

    def start(number: int):
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", str(1 + number % 3))
        few = ("taskset", "--cpu-list", str(cores[number % len(cores)]))
        return trainers.start(
            faces_dir,
            workdir,
            f"--virtual_devices={(1, 2, 4)[number % 3]}",
            prefix=few if number % 2 else (),
            **_PUBLISHED,
        )

    for number in range(_NUM_KILLS):
        process = start(number)
        kill = KILLS[number % len(KILLS)]
        kill(process, workdir, rng)
        killed = trainers.end(process, workdir)
        assert killed.returncode == -signal.SIGKILL, killed.output
    assert_same(trainers.end(start(_NUM_KILLS), workdir, _SECONDS), one_device)
    row(
        "resumed each time, on 1 core or on all, on 1, 2 or 4 devices, with "
        "`TF_NUM_INTRAOP_THREADS` at 1, 2 and 3; it ends in the same bytes",
        "nothing",
    )
