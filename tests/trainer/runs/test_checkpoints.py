import json
import logging
import math
import os
import pathlib

import numpy as np
import pytest

from tests.trainer.runs.sealed import npz, seal
from trainer.runs import arrays_file, checkpoints

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
    actual = [checkpoints.step_of(x) for x in checkpoints.list_newest_first(tmp_path)]
    assert actual == [1_000_000_000, 10, 9, 1]


def test_a_leftover_of_a_killed_save_is_ignored_and_removed(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / ".tmp-7").mkdir()
    (tmp_path / ".tmp-7/state.safetensors").write_bytes(b"half")
    assert checkpoints.load_newest(tmp_path) is None
    save(tmp_path, 8)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000008"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes, but"),
        (
            lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]),
            "its sha256 differs",
        ),
        (lambda path: path.unlink(), "state.safetensors is missing"),
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
    damage(newest / "state.safetensors")
    with pytest.raises(checkpoints.CheckpointError, match=message):
        checkpoints.load(newest)
    with caplog.at_level(logging.WARNING, logger="absl"):
        _, meta = checkpoints.load_newest(tmp_path)
    assert meta["step"] == 1
    assert "step-000000002 is damaged" in caplog.text


def flip(path: pathlib.Path) -> None:
    """Flips a bit of a checkpoint, as a faulty disk may."""
    data = bytearray((path / "state.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (path / "state.safetensors").write_bytes(data)


def names_in(directory: pathlib.Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("is_owner", [False, True])
def test_when_all_are_damaged_nothing_is_guessed(tmp_path, is_owner: bool) -> None:
    (save(tmp_path, 1) / "state.safetensors").unlink()
    with pytest.raises(
        checkpoints.CheckpointError, match=r"every .* \(number of checkpoints: 1\)"
    ):
        checkpoints.load_newest(tmp_path, is_owner=is_owner)
    assert names_in(tmp_path) == ["step-000000001"]


def test_only_the_owner_sets_damaged_ones_aside(tmp_path, caplog) -> None:
    for step in (1, 2, 3):
        newest = save(tmp_path, step)
    flip(newest)
    flip(tmp_path / "step-000000002")
    before = names_in(tmp_path)
    assert checkpoints.load_newest(tmp_path)[1]["step"] == 1
    assert names_in(tmp_path) == before
    assert checkpoints.load_newest(tmp_path, is_owner=True)[1]["step"] == 1
    assert names_in(tmp_path) == [
        "damaged-step-000000002",
        "damaged-step-000000003",
        "step-000000001",
    ]
    assert (
        f"{newest} is damaged and was renamed to damaged-step-000000003" in caplog.text
    )
    assert checkpoints.list_newest_first(tmp_path) == [tmp_path / "step-000000001"]
    # The damaged checkpoint is not read again, and its step can be saved anew.
    caplog.clear()
    assert checkpoints.load_newest(tmp_path, is_owner=True)[1]["step"] == 1
    assert not caplog.text
    save(tmp_path, 3)
    assert checkpoints.load_newest(tmp_path)[1]["step"] == 3


def test_a_run_with_damaged_ones_alone_does_not_begin_anew(tmp_path) -> None:
    path = save(tmp_path, 1)
    flip(path)
    checkpoints.set_aside(path)
    with pytest.raises(
        checkpoints.CheckpointError, match=r"every .* \(number of checkpoints: 1\)"
    ):
        checkpoints.load_newest(tmp_path)
    flip(save(tmp_path, 2))
    with pytest.raises(
        checkpoints.CheckpointError, match=r"every .* \(number of checkpoints: 2\)"
    ):
        checkpoints.load_newest(tmp_path)


def test_the_same_step_may_be_damaged_twice(tmp_path) -> None:
    for _ in range(2):
        path = save(tmp_path, 4)
        flip(path)
        checkpoints.set_aside(path)
    assert names_in(tmp_path) == ["damaged-step-000000004"]


def test_a_step_is_saved_once_and_again_if_it_is_damaged(tmp_path) -> None:
    path = save(tmp_path, 4)
    checkpoints.save(tmp_path, 4, ARRAYS, {"ledger": "cd"})
    assert checkpoints.load(path)[1]["ledger"] == "ab"
    flip(path)
    checkpoints.save(tmp_path, 4, ARRAYS, {"ledger": "cd"})
    assert checkpoints.load(path)[1]["ledger"] == "cd"
    assert names_in(tmp_path) == ["damaged-step-000000004", "step-000000004"]


def test_what_a_trainer_removes_meanwhile_is_not_damaged(
    tmp_path, monkeypatch, caplog
) -> None:
    path, load = save(tmp_path, 1), checkpoints.load

    def load_late(asked: pathlib.Path):
        if asked == path:
            save(tmp_path, 2)
            checkpoints.remove(path)
        return load(asked)

    monkeypatch.setattr(checkpoints, "load", load_late)
    assert checkpoints.load_newest(tmp_path)[1]["step"] == 2
    assert "damaged" not in caplog.text


def test_half_a_removal_is_finished_by_the_next_save(tmp_path, monkeypatch) -> None:
    path = save(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.shutil, "rmtree", lambda path: None)
        checkpoints.remove(path)
    assert checkpoints.load_newest(tmp_path) is None
    save(tmp_path, 2)
    assert names_in(tmp_path) == ["step-000000002"]


def test_objects_are_neither_saved_nor_loaded(tmp_path: pathlib.Path) -> None:
    arrays = {"evil": np.array([{}], dtype=object)}
    with pytest.raises(arrays_file.ArraysError, match="evil has values of type object"):
        checkpoints.save(tmp_path, 1, arrays, {})
    assert not names_in(tmp_path)
    path = seal(tmp_path / "step-000000001", "state.npz", npz(arrays))
    with pytest.raises(checkpoints.CheckpointError, match="allow_pickle=False"):
        checkpoints.load(path)


META = {"dataset_digest": "ab", "config_digest": "cd", "elbo": -10.5}
FIELDS = ["config_digest", "dataset_digest", "digest", "elbo", "num_bytes", "sha256"]
VALUES = [-1, 0, 10**30, 1e30, -10.25, True, "", "ef", None, [], {}, math.nan]


@pytest.mark.parametrize("name", [*FIELDS, "step"])
def test_every_changed_field_is_refused(tmp_path, name: str) -> None:
    checkpoints.save(tmp_path, 1, ARRAYS, META)
    path = checkpoints.save(tmp_path, 2, ARRAYS, META)
    body = json.loads((path / checkpoints.META_NAME).read_text())
    assert sorted([*FIELDS, "step"]) == sorted(body)
    for value in VALUES:
        text = json.dumps({**body, name: value})
        (path / checkpoints.META_NAME).write_text(text)
        with pytest.raises(checkpoints.CheckpointError, match=f"^{path} is damaged"):
            checkpoints.load(path)
        assert checkpoints.load_newest(tmp_path)[1]["step"] == 1
    for text in (
        json.dumps({**body, "more": 1}),
        json.dumps(body).replace('"step"', '"step": 9, "step"'),
    ):
        (path / checkpoints.META_NAME).write_text(text)
        with pytest.raises(checkpoints.CheckpointError, match=f"^{path} is damaged"):
            checkpoints.load(path)


def test_one_of_an_earlier_release_is_read(tmp_path) -> None:
    path = checkpoints.save(tmp_path, 3, ARRAYS, {"dataset_digest": "ab"})
    body = json.loads((path / checkpoints.META_NAME).read_text())
    del body["digest"]
    (path / checkpoints.META_NAME).write_text(json.dumps(body))
    origin = {"dataset_digest": "ab", "config_digest": "cd"}
    assert checkpoints.load_newest(tmp_path, origin)[1]["step"] == 3


def test_one_that_was_renamed_is_not_believed(tmp_path, caplog) -> None:
    save(tmp_path, 5).rename(tmp_path / "step-000000009")
    save(tmp_path, 6)
    assert checkpoints.load_newest(tmp_path)[1]["step"] == 6
    assert "step-000000009 is damaged: checkpoint.json has step 5" in caplog.text


@pytest.mark.parametrize(
    ("name", "of"), [("dataset_digest", "dataset"), ("config_digest", "settings")]
)
def test_one_of_another_run_is_refused(tmp_path, name: str, of: str) -> None:
    checkpoints.save(tmp_path, 1, ARRAYS, META)
    path = checkpoints.save(tmp_path, 2, ARRAYS, {**META, name: "theirs"})
    for is_owner in (False, True):
        with pytest.raises(
            checkpoints.CheckpointError,
            match=f"^{path} belongs to another run: the digest of its {of} is 'theirs'",
        ):
            checkpoints.load_newest(tmp_path, META, is_owner=is_owner)
    assert names_in(tmp_path) == ["step-000000001", "step-000000002"]
    # The other run's checkpoint does not keep this run from saving the same step.
    checkpoints.save(tmp_path, 2, ARRAYS, META)
    assert checkpoints.load_newest(tmp_path, META)[1][name] == META[name]


def test_what_is_planted_among_checkpoints_leads_nowhere(tmp_path) -> None:
    directory, target = tmp_path / "checkpoints", tmp_path / "theirs"
    target.mkdir()
    (target / "file").write_text("theirs")
    directory.mkdir()
    (directory / ".tmp-1").symlink_to(target)
    (directory / ".tmp-2").write_text("a file")
    (directory / ".removed-step-000000001").symlink_to(target / "absent")
    os.mkfifo(directory / ".tmp-3")
    (directory / "step-000000001").symlink_to(target)
    (directory / "damaged-step-000000001").symlink_to(target)
    path = save(directory, 1)
    assert not path.is_symlink()
    assert checkpoints.load(path)[1]["step"] == 1
    assert names_in(directory) == ["damaged-step-000000001", "step-000000001"]
    checkpoints.remove(checkpoints.list_set_aside(directory)[0])
    assert (target / "file").read_text() == "theirs"


@pytest.mark.parametrize("name", ["checkpoint.json", "state.safetensors", "state.npz"])
def test_a_pipe_in_a_checkpoint_is_not_waited_for(tmp_path, name: str) -> None:
    path = save(tmp_path, 1)
    (path / name).unlink(missing_ok=True)
    os.mkfifo(path / name)
    with pytest.raises(checkpoints.CheckpointError, match=f"{name} is not a file"):
        checkpoints.load(path)
