"""Checkpoints of earlier releases, with their arrays in an npz."""

import io
import os
import pathlib
import zipfile

import numpy as np
import pytest

from tests.trainer.runs.sealed import npz, seal
from trainer.runs import checkpoints

ARRAYS = {"vae/kernel": np.arange(6.0).reshape(2, 3), "step": np.int64(5)}


def save(directory: pathlib.Path, step: int) -> pathlib.Path:
    return checkpoints.save(directory, step, ARRAYS, {})


def names_in(directory: pathlib.Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def earlier(directory: pathlib.Path, step: int) -> pathlib.Path:
    """Returns a checkpoint in the format of earlier releases."""
    return seal(directory / f"step-{step:09d}", "state.npz", npz(ARRAYS))


def test_an_npz_of_an_earlier_release_is_read(tmp_path) -> None:
    path = earlier(tmp_path, 3)
    arrays, meta = checkpoints.load_newest(tmp_path)
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
    assert meta["step"] == 3
    # Saving the same step again leaves the old checkpoint as it is.
    assert save(tmp_path, 3) == path
    assert names_in(path) == ["checkpoint.json", "state.npz"]
    assert checkpoints.load_newest(tmp_path)[1] == meta
    save(tmp_path, 4)
    assert checkpoints.load_newest(tmp_path)[1]["step"] == 4


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda path: path.write_bytes(path.read_bytes()[:-1]),
            r"state\.npz has \d+ b",
        ),
        (
            lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]),
            r"state\.npz has changed since it was written \(its sha256 differs",
        ),
        (lambda path: path.unlink(), "state.safetensors is missing"),
    ],
)
def test_a_damaged_npz_is_set_aside(tmp_path, damage, message: str) -> None:
    earlier(tmp_path, 1)
    newest = earlier(tmp_path, 2)
    damage(newest / "state.npz")
    with pytest.raises(checkpoints.CheckpointError, match=message):
        checkpoints.load(newest)
    assert checkpoints.load_newest(tmp_path, is_owner=True)[1]["step"] == 1
    assert names_in(tmp_path) == ["damaged-step-000000002", "step-000000001"]
    # A new save takes the place of the damaged checkpoint, in the format of this
    # release.
    save(tmp_path, 2)
    assert checkpoints.load_newest(tmp_path)[1]["step"] == 2


def test_an_npz_beside_the_arrays_is_not_looked_at(tmp_path) -> None:
    path = save(tmp_path, 1)
    (path / "state.npz").write_bytes(npz({"step": np.int64(9)}))
    assert checkpoints.load(path)[0]["step"] == 5


def test_what_is_no_array_is_refused(tmp_path: pathlib.Path) -> None:
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        archive.writestr("step.npy", b"no array")
    path = seal(tmp_path / "step-000000001", "state.npz", file.getvalue())
    with pytest.raises(
        checkpoints.CheckpointError, match="is damaged: step is not an array"
    ):
        checkpoints.load(path)


@pytest.mark.parametrize("name", ["checkpoint.json", "state.npz"])
def test_a_pipe_is_not_waited_for(tmp_path, name: str) -> None:
    path = earlier(tmp_path, 1)
    (path / name).unlink()
    os.mkfifo(path / name)
    with pytest.raises(checkpoints.CheckpointError, match=f"{name} is not a file"):
        checkpoints.load(path)
