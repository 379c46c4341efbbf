"""Fixtures: small prepared datasets, and an undisturbed run."""

import json
import pathlib
import shutil

import pytest

from tests.trainer.trained_runs import Run, prepare, synthesize, train
from trainer.numerics import threads
from trainer.system import libraries

libraries.load_tensorflow()

import tensorflow as tf  # noqa: E402

# Use as many threads as the commands do. TensorFlow accepts the number only before a
# test touches a device.
tf.config.threading.set_intra_op_parallelism_threads(threads.NUM_THREADS)

NUM_IMAGES = 120


@pytest.fixture(scope="session")
def faces_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Returns 120 synthetic faces in CelebA's layout.

    The splits are 96 train, 11 validation and 13 test images.
    """
    return synthesize(tmp_path_factory.mktemp("faces"), NUM_IMAGES)


@pytest.fixture(scope="session")
def dataset_dir(
    faces_dir: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """Returns the faces at 32 px in float16: 16 train shards of 6 records."""
    return prepare(faces_dir, tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="session")
def reference_run(
    dataset_dir: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Returns an undisturbed run of 50 steps on one device."""
    run = train(
        dataset_dir,
        tmp_path_factory.mktemp("runs") / "reference",
        "--virtual_devices=1",
    )
    assert run.returncode == 0, run.output
    return run


@pytest.fixture(scope="session")
def moved_dir(
    reference_run: Run, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """Returns a copy of the reference run, with a dataset path that does not exist."""
    moved = tmp_path_factory.mktemp("moved") / "run"
    shutil.copytree(reference_run.workdir, moved)
    path = moved / "dataset.json"
    dataset = json.loads(path.read_text())
    path.write_text(json.dumps({**dataset, "path": "/nowhere/dataset"}))
    return moved
