"""Fixtures: a dataset, a run that nothing disturbed, and rows for the table."""

import pathlib
from collections.abc import Callable, Iterator

import pytest

from tests.chaos import reliability, tiny_dataset, trainers
from tests.trainer.trained_runs import Run


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Returns a dataset that nobody damages: 64 images to train on, 16 others."""
    return tiny_dataset.write(tmp_path_factory.mktemp("tiny") / "dataset")


@pytest.fixture(autouse=True)
def _no_trainer_is_left() -> Iterator[None]:
    yield
    trainers.end_all()


@pytest.fixture
def own_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    """Returns a dataset of the same bytes, to be damaged."""
    return tiny_dataset.write(tmp_path / "dataset")


@pytest.fixture(scope="session")
def undisturbed(
    tiny_dir: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Returns a run from its first to its last step, with every checkpoint kept."""
    workdir = tmp_path_factory.mktemp("runs") / "undisturbed"
    run = trainers.run(tiny_dir, workdir, "--config.keep_checkpoints=1000")
    assert run.returncode == 0, run.output
    return run


@pytest.fixture
def row(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Callable[..., None]:
    """Returns what a test calls at its end, with the cells of its row."""

    def write(happens: str, lost: str, message: str = "", **names: object) -> None:
        named = {"WORKDIR": tmp_path / "run", "DATASET": tmp_path / "dataset", **names}
        cells = (happens, lost, message and reliability.shown(message, named))
        if reliability.IS_FULL:
            reliability.write_row(request.function.scenario, cells)

    return write
