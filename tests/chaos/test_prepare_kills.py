"""Kills `pipeline.prepare` at any moment and runs it again."""

import pathlib
import random
import signal
import subprocess
import time

import pytest

from pipeline.storage import files
from tests import preloaded
from tests.chaos.reliability import IS_FULL, python_to_kill, scenario
from tests.pipeline import commands
from tests.trainer.trained_runs import synthesize

_NUM_KILLS = 60 if IS_FULL else 4
# `prepare` uses worker processes from a thousand images on.
_NUM_IMAGES = 1200 if IS_FULL else 300
_FLAGS = ("--shard_size=8", "--num_workers=2")
# Upper limit of the time before a kill. A rerun that keeps most shards ends sooner.
_MAX_SECONDS = 6.0


@pytest.fixture(scope="module")
def faces_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Returns synthetic faces in CelebA's layout."""
    return synthesize(tmp_path_factory.mktemp("faces"), _NUM_IMAGES)


def files_of(dataset: pathlib.Path) -> dict[str, bytes]:
    """Returns the bytes of all files of a dataset, keyed by name.

    Files for reruns are left out, because they hold the name of the run.
    """
    return {
        path.name: path.read_bytes() for path in dataset.iterdir() if path.is_file()
    }


@scenario("SIGKILL at 60 moments of prepare")
@pytest.mark.timeout(3600)
def test_killed_at_any_moment(faces_dir, tmp_path, row) -> None:
    rng = random.Random(2)
    whole, output = tmp_path / "whole", tmp_path / "output"
    done = commands.run_command(faces_dir, whole, *_FLAGS)
    assert done.returncode == 0, done.stderr
    num_killed = num_published = num_kept = 0
    while num_killed < _NUM_KILLS:
        earlier = finished_shards(output)
        process = subprocess.Popen(
            commands.command(faces_dir, output, *_FLAGS, python=python_to_kill()),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        # Kill after a random time, or earlier once some more shards are written.
        limit = time.monotonic() + rng.uniform(0, _MAX_SECONDS)
        num_shards = commands.num_finished(output) + rng.randint(1, 12)
        while process.poll() is None and time.monotonic() < limit:
            if commands.num_finished(output) >= num_shards:
                break
            time.sleep(0.001)
        preloaded.send(process, signal.SIGKILL)
        _, message = process.communicate()
        if process.returncode == -signal.SIGKILL:
            num_killed += 1
            assert not (output / "manifest.json").exists() or (
                files_of(output).keys() >= files_of(whole).keys()
            )
        else:
            assert process.returncode == 0, message
        # Each start keeps the shards that earlier starts finished.
        assert earlier.items() <= finished_shards(output).items()
        num_kept += bool(earlier)
        if (output / "manifest.json").exists():
            assert_same(output, whole, faces_dir)
            num_published += 1
            output = tmp_path / f"output{num_published}"
    done = commands.run_command(faces_dir, output, *_FLAGS)
    assert done.returncode == 0, done.stderr
    assert_same(output, whole, faces_dir)
    assert num_kept
    row("the same command went on each time, to the same bytes", "the shards in work")


def finished_shards(output: pathlib.Path) -> dict[str, int]:
    """Returns the inodes of the shards that have a sidecar, keyed by name."""
    sidecars = (output / files.PROGRESS_DIR).glob("celeba-*.json")
    return {path.stem: (output / path.stem).stat().st_ino for path in sidecars}


def assert_same(output: pathlib.Path, whole: pathlib.Path, faces_dir) -> None:
    """Checks the bytes of a dataset after a last run has cleaned up."""
    done = commands.run_command(faces_dir, output, *_FLAGS)
    assert done.returncode == 0, done.stderr
    actual, expected = files_of(output), files_of(whole)
    assert actual.keys() == expected.keys()
    for name, data in expected.items():
        assert actual[name] == data, name
