"""Cuts the power: everything reported as saved is on the disk, and work resumes."""

import json
import pathlib
import random
import re
import subprocess
import time

import pytest

from pipeline.dataset import shards
from pipeline.storage import files, paths
from tests.chaos import machine, trainers
from tests.chaos.reliability import IS_FULL, scenario
from tests.pipeline import commands
from tests.trainer.trained_runs import Run, synthesize
from trainer.runs import checkpoints

_NUM_CUTS = 50 if IS_FULL else 4
# Fewer than a thousand images need no worker processes.
_NUM_IMAGES = 999 if IS_FULL else 300
_PREPARE_FLAGS = ("--image_size=8", "--shard_size=2", "--num_workers=1")
# The power fails during startup in every `_EACH_START`-th start.
_EACH_START, _MAX_SECONDS = 5, 8.0


def cut_in_a_life(
    disk: machine.Disk, dataset: pathlib.Path, workdir: pathlib.Path, number: int
) -> int:
    """Starts a trainer, cuts the power, and checks every checkpoint that it reported.

    Returns:
        Last step that the trainer reported as saved; -1 if it reported none.
    """
    rng = random.Random(number)
    process = trainers.start(dataset, workdir)
    if number % _EACH_START == 0:
        limit = time.monotonic() + rng.uniform(0, _MAX_SECONDS)
        step = trainers.last_step(workdir) + 1
    else:
        limit, step = float("inf"), trainers.last_step(workdir) + rng.randint(1, 2)
    trainers.wait_until(
        process,
        lambda: time.monotonic() > limit or trainers.last_step(workdir) >= step,
        pause=0.001,
    )
    time.sleep(rng.uniform(0, 0.03))
    disk.cut()
    output = trainers.kill(process, workdir).output
    disk.restore()
    message = map(int, re.findall(r"checkpoint of step (\d+) in", output))
    last = max(message, default=-1)
    actual = checkpoints.list_newest_first(workdir / "checkpoints")
    assert all(map(checkpoints.is_whole, actual)), output
    assert trainers.last_step(workdir) >= last
    if last >= 0:
        for name in ("config.json", "dataset.json"):
            assert json.loads((workdir / name).read_text())
    return last


@scenario("the power is cut at 50 moments of one run")
@pytest.mark.timeout(3600)
def test_power_cuts_of_a_run(undisturbed: Run, tiny_dir, tmp_path, row) -> None:
    workdir = tmp_path / "disk/run"
    with machine.disk_to_cut(tmp_path / "disk", mib=64) as disk:
        message = [
            cut_in_a_life(disk, tiny_dir, workdir, number)
            for number in range(_NUM_CUTS)
        ]
        assert -1 < max(message) < trainers.NUM_STEPS
        resumed = trainers.run(tiny_dir, workdir)
        assert "resuming at step" in resumed.output
        trainers.assert_same(resumed, undisturbed)
    row(
        f"{_NUM_CUTS} of {_NUM_CUTS} times every checkpoint that the log names was "
        "there (ext4 on a loop device), and it went on",
        "nothing",
    )


def cut_in_a_preparation(
    disk: machine.Disk, faces: pathlib.Path, output: pathlib.Path, number: int
) -> None:
    """Starts `prepare`, cuts the power, and checks the shards that it finished."""
    rng = random.Random(number)
    # Wait for at least two new shards: every shard but the newest must survive.
    num_wanted = commands.num_finished(output) + rng.randint(2, 3)
    process = subprocess.Popen(
        commands.command(faces, output, *_PREPARE_FLAGS),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    trainers.wait_until(
        process,
        lambda: commands.num_finished(output) >= num_wanted,
        pause=0.001,
    )
    time.sleep(rng.uniform(0, 0.01))
    seen = sorted(sidecars(output), key=lambda path: path.stat().st_mtime_ns)
    disk.cut()
    process.kill()
    process.wait()
    disk.restore()
    # The only worker starts a shard once the sidecar of the previous shard is on the
    # disk.
    assert set(seen[:-1]) <= set(sidecars(output))
    for path in sidecars(output):
        result = shards.read_sidecar(str(path))
        assert result is not None
        assert paths.hash_file(str(output / path.stem)) == result.info.sha256


def sidecars(output: pathlib.Path) -> list[pathlib.Path]:
    return list((output / files.PROGRESS_DIR).glob("celeba-*.json"))


@scenario("the power is cut at 50 moments of prepare")
@pytest.mark.timeout(3600)
def test_power_cuts_of_prepare(tmp_path, row) -> None:
    faces, output = (
        synthesize(tmp_path / "faces", _NUM_IMAGES),
        tmp_path / "disk/dataset",
    )
    done = commands.run_command(faces, tmp_path / "reference", *_PREPARE_FLAGS)
    assert done.returncode == 0, done.stderr
    with machine.disk_to_cut(tmp_path / "disk", mib=64) as disk:
        for number in range(_NUM_CUTS):
            cut_in_a_preparation(disk, faces, output, number)
        num_left = commands.num_finished(output)
        resumed = commands.run_command(faces, output, *_PREPARE_FLAGS)
        num_kept, num_shards = commands.kept_shards(resumed.stderr)
        assert num_kept == num_left
        assert _NUM_CUTS <= num_kept < num_shards
        disk.cut()
        disk.restore()
        assert resumed.stdout == done.stdout
        assert commands.run_verify(output).returncode == 0
    row(
        f"{_NUM_CUTS} of {_NUM_CUTS} times every finished shard was there (ext4 on a "
        "loop device), and it went on to the same digest",
        "the shard in work",
    )
