"""Trains with few open files, on batches that span any number of shards."""

import pathlib
import resource
import subprocess
import sys

import pytest

from tests.trainer.trained_runs import ROOT, prepare


@pytest.fixture(scope="module")
def many_shards(
    faces_dir: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """Returns the faces with one or two records per shard."""
    return prepare(faces_dir, tmp_path_factory.mktemp("many"), "--shard_size=1")


def train(
    dataset: pathlib.Path, workdir: pathlib.Path, num_files: int
) -> subprocess.CompletedProcess[str]:
    """Trains one step on a batch of all shards, in a new interpreter."""
    command = [
        *(sys.executable, "-m", "trainer.train"),
        *(f"--dataset={dataset}", f"--workdir={workdir}"),
        *("--config=configs/celeba_debug.py", "--config.num_train_steps=1"),
        "--config.global_batch_size=96",
    ]
    return subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE, (num_files, num_files)
        ),
    )


@pytest.mark.slow
def test_a_batch_may_have_more_shards_than_may_be_open(
    many_shards: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    assert len(list(many_shards.glob("*-train.tfrecord-*"))) >= 64
    done = train(many_shards, tmp_path / "run", num_files=60)
    assert done.returncode == 0, done.stderr
