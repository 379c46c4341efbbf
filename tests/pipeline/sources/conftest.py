"""Fixtures: a small MNIST, faces, and data sets that TensorFlow Datasets prepared."""

import pathlib
import subprocess

import numpy as np
import pytest

from pipeline.synthetic import layout
from tests import preloaded
from tests.pipeline.sources import tfds_datasets
from tests.pipeline.sources.mnist.mnist_files import Mnist


@pytest.fixture
def digits() -> Mnist:
    rng = np.random.default_rng(0)
    sizes = {"train": 25, "test": 9}
    return Mnist(
        pixels={
            split: rng.integers(0, 256, (number, 28, 28), dtype=np.uint8)
            for split, number in sizes.items()
        },
        labels={split: np.arange(number) % 10 for split, number in sizes.items()},
    )


@pytest.fixture(scope="session")
def faces(tmp_path_factory) -> pathlib.Path:
    """Returns a directory of 30 synthetic faces in CelebA's official layout."""
    root = tmp_path_factory.mktemp("faces")
    layout.write_dataset(root, num_images=30, seed=0, num_workers=1)
    return root


@pytest.fixture(scope="session")
def prepared(faces, tmp_path_factory) -> pathlib.Path:
    """Returns the directory that `tfds_datasets` writes; do not change it."""
    out = tmp_path_factory.mktemp("tfds")
    program = [preloaded.shared_python(), tfds_datasets.__file__, str(faces), str(out)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return out
