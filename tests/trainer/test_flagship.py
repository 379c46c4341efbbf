"""The flagship at its published size computes the same bits on any devices and hosts.

A small model proves little, because its kernels split their work differently and its
sums are short. These tests therefore use 128 px and 64 images a step, for only a few
steps; `tests/chaos` makes fifty.
"""

import pathlib

import pytest

from tests.trainer.trained_runs import Run, prepare, train

pytestmark = pytest.mark.slow

FLAGS = (
    "--config.global_batch_size=64",
    "--config.num_train_steps=3",
    "--config.image_every_steps=1000",
    "--config.eval_every_steps=1000",
    "--config.num_picture_samples=1",
    "--config.num_picture_pairs=1",
    "--config.num_picture_traversals=0",
    "--config.show_neighbours=False",
)


@pytest.fixture(scope="module")
def flagship_dir(
    faces_dir: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """Returns the faces at 128 px, with 96 training images."""
    return prepare(faces_dir, tmp_path_factory.mktemp("flagship"), "--image_size=128")


@pytest.fixture(scope="module")
def one_device(
    flagship_dir: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Returns a run of three steps on one device."""
    workdir = tmp_path_factory.mktemp("flagship_runs") / "one"
    run = train(flagship_dir, workdir, *FLAGS, "--virtual_devices=1", config="celeba")
    assert run.returncode == 0, run.output
    return run


@pytest.mark.parametrize(
    ("module", "flags"),
    [
        ("trainer.train", ["--virtual_devices=2"]),
        ("trainer.train", ["--virtual_devices=4"]),
        ("trainer.launch", ["--num_processes=2", "--max_restarts=0"]),
    ],
    ids=["2 devices", "4 devices", "2 hosts"],
)
def test_the_published_size_is_the_same_everywhere(
    flagship_dir: pathlib.Path,
    one_device: Run,
    tmp_path: pathlib.Path,
    module: str,
    flags: list[str],
) -> None:
    run = train(
        flagship_dir, tmp_path / "run", *FLAGS, *flags, config="celeba", module=module
    )
    assert run.returncode == 0, run.output
    assert len(run.metrics()) == 3
    assert run.metrics() == one_device.metrics()
    name = "checkpoints/step-000000003/state.safetensors"
    assert (run.workdir / name).read_bytes() == (one_device.workdir / name).read_bytes()
