"""Fixtures: a dataset, an undisturbed run, and a writer of table rows."""

import pathlib
from collections.abc import Callable, Iterator

import pytest

from tests.chaos import reliability, tiny_dataset, trainers
from tests.trainer.trained_runs import Run


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Returns an intact dataset: 64 training images and 16 validation images."""
    return tiny_dataset.write(tmp_path_factory.mktemp("tiny") / "dataset")


@pytest.fixture(autouse=True)
def _no_trainer_is_left() -> Iterator[None]:
    yield
    trainers.end_all()


@pytest.fixture
def own_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    """Returns a dataset with the bytes of `tiny_dir`, for the test to damage."""
    return tiny_dataset.write(tmp_path / "dataset")


@pytest.fixture(scope="session")
def undisturbed(
    tiny_dir: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Returns an uninterrupted run that keeps every checkpoint."""
    workdir = tmp_path_factory.mktemp("runs") / "undisturbed"
    run = trainers.run(tiny_dir, workdir, "--config.keep_checkpoints=1000")
    assert run.returncode == 0, run.output
    return run


@pytest.fixture
def row(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Callable[..., None]:
    """Returns a function that a test calls at its end with the cells of its row."""

    def write(happens: str, lost: str, message: str = "", **names: object) -> None:
        named = {"WORKDIR": tmp_path / "run", "DATASET": tmp_path / "dataset", **names}
        cells = (happens, lost, message and reliability.shown(message, named))
        if reliability.IS_FULL:
            reliability.write_row(request.function.scenario, cells)

    return write
