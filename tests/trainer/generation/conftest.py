"""Fixtures: two trained runs that the golden files hold, so nothing is trained."""

import pytest

from tests.golden import golden_commands as golden
from trainer.runs import trained


def load(name: str) -> trained.TrainedRun:
    dataset, *_ = golden.TRAINED[name]
    return trained.load(golden.HERE / name, str(golden.HERE / dataset))


@pytest.fixture(scope="package")
def binary_run() -> trained.TrainedRun:
    """Returns a Bernoulli VAE with two classes, on black and white images of 8 px.

    The splits are 14 train, 3 validation and 3 test images; the latents are four.
    """
    return load("run_folder")


@pytest.fixture(scope="package")
def face_run() -> trained.TrainedRun:
    """Returns a Gaussian VAE with attributes as conditions, on faces of 16 px.

    The splits are 16 train, 1 validation and 3 test images; the latents are four.
    """
    return load("run")
