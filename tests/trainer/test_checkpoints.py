import hashlib
import json
import logging
import pathlib
import zipfile

import numpy as np
import pytest

from trainer import checkpoints

ARRAYS = {"vae/kernel": np.arange(6.0).reshape(2, 3), "step": np.int64(5)}


def save(directory: pathlib.Path, step: int) -> pathlib.Path:
    return checkpoints.save(directory, step, ARRAYS, {"ledger": "ab"})


def test_arrays_come_back(tmp_path: pathlib.Path) -> None:
    save(tmp_path / "checkpoints", 5)
    arrays, meta = checkpoints.load_newest(tmp_path / "checkpoints")
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
    assert (meta["step"], meta["ledger"]) == (5, "ab")


def test_nothing_saved_is_none(tmp_path: pathlib.Path) -> None:
    assert checkpoints.load_newest(tmp_path / "checkpoints") is None


def test_the_newest_is_that_of_the_last_step(tmp_path: pathlib.Path) -> None:
    for step in (1, 10, 9, 1_000_000_000):
        save(tmp_path, step)
    found = [checkpoints.step_of(x) for x in checkpoints.list_newest_first(tmp_path)]
    assert found == [1_000_000_000, 10, 9, 1]


def test_a_leftover_of_a_killed_save_is_ignored_and_removed(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / ".tmp-7").mkdir()
    (tmp_path / ".tmp-7/state.npz").write_bytes(b"half")
    assert checkpoints.load_newest(tmp_path) is None
    save(tmp_path, 8)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000008"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes, and"),
        (
            lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]),
            "its sha256 differs",
        ),
        (lambda path: path.unlink(), "FileNotFoundError"),
        (
            lambda path: (path.parent / "checkpoint.json").write_text("{"),
            "JSONDecodeError",
        ),
        (lambda path: (path.parent / "checkpoint.json").write_text("{}"), "KeyError"),
    ],
)
def test_damage_is_noticed_and_the_one_before_is_used(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture, damage, message: str
) -> None:
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    damage(newest / "state.npz")
    with pytest.raises(checkpoints.CheckpointError, match=message):
        checkpoints.load(newest)
    with caplog.at_level(logging.WARNING, logger="absl"):
        _, meta = checkpoints.load_newest(tmp_path)
    assert meta["step"] == 1
    assert "step-000000002 is damaged" in caplog.text


def test_when_all_are_damaged_nothing_is_guessed(tmp_path: pathlib.Path) -> None:
    (save(tmp_path, 1) / "state.npz").unlink()
    with pytest.raises(checkpoints.CheckpointError, match="all 1 checkpoints in"):
        checkpoints.load_newest(tmp_path)


def test_pickled_objects_are_not_loaded(tmp_path: pathlib.Path) -> None:
    path = checkpoints.save(tmp_path, 1, {"evil": np.array([{}], dtype=object)}, {})
    with pytest.raises(ValueError, match="allow_pickle=False"):
        checkpoints.load(path)


def test_what_is_no_array_is_refused(tmp_path: pathlib.Path) -> None:
    path = save(tmp_path, 1)
    with zipfile.ZipFile(path / "state.npz", "w") as archive:
        archive.writestr("step.npy", b"no array")
    data = (path / "state.npz").read_bytes()
    meta = {"num_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (path / "checkpoint.json").write_text(json.dumps(meta))
    with pytest.raises(checkpoints.CheckpointError, match="step is no array"):
        checkpoints.load(path)
