import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import pathlib
import re
import stat

import pytest

from configs import celeba_debug
from pipeline import contract
from trainer.runs import settings, workdir

MANIFEST = contract.Manifest(
    name="celeba",
    settings={"seed": 0},
    source_fingerprint="ab",
    features={
        "key": contract.Feature("string"),
        "image": contract.Feature("float16", (32, 32, 3)),
    },
    splits={},
)


def test_it_holds_the_settings_and_the_dataset(tmp_path: pathlib.Path) -> None:
    config = celeba_debug.get_config()
    workdir.acquire(tmp_path / "a/b", config, MANIFEST, "data")
    saved = json.loads((tmp_path / "a/b/config.json").read_text())
    assert saved["latent_dim"] == 8
    dataset = json.loads((tmp_path / "a/b/dataset.json").read_text())
    assert dataset == {
        "digest": MANIFEST.digest,
        "settings": {"seed": 0},
        "path": str(pathlib.Path("data").absolute()),
        "manifest": json.loads(MANIFEST.to_json()),
    }
    workdir.acquire(tmp_path / "a/b", config, MANIFEST, "data")


def test_every_difference_is_named(tmp_path: pathlib.Path) -> None:
    config = celeba_debug.get_config()
    workdir.acquire(tmp_path, config, MANIFEST, "data")
    config.seed = 9
    other = dataclasses.replace(MANIFEST, name="other")
    with pytest.raises(
        ValueError,
        match="`config.seed` was 0 and is now 9; the dataset's digest was "
        f"{MANIFEST.digest} and is now {other.digest}",
    ):
        workdir.acquire(tmp_path, config, other, "data")


def test_a_run_of_before_goes_on_with_its_settings(tmp_path: pathlib.Path) -> None:
    config = celeba_debug.get_config()
    config.shuffle_block_size, config.batch_norm_warmup = 32, False
    workdir.acquire(tmp_path, config, MANIFEST, "data").close()
    path = tmp_path / "config.json"
    saved = json.loads(path.read_text())
    for name in ("batch_norm_warmup", "classifier_filters", "classifier_units"):
        del saved[name]
    path.write_text(json.dumps(saved))
    current = celeba_debug.get_config()
    workdir.check(tmp_path, current, MANIFEST)
    resumed = workdir.resumed(tmp_path, current)
    assert resumed.to_dict() == config.to_dict()
    # The digest of the settings in its checkpoints, from before there was the setting.
    decisive = {name: saved[name] for name in saved.keys() - settings.CADENCE}
    text = json.dumps(decisive, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert workdir.origin(resumed, MANIFEST)["config_digest"] == digest
    assert workdir.origin(current, MANIFEST)["config_digest"] != digest
    assert workdir.resumed(tmp_path / "new", current) is current
    path.write_text(json.dumps({**saved, "shuffle_block_size": -1}))
    with pytest.raises(ValueError, match=f"{path} is damaged .*shuffle_block_size"):
        workdir.resumed(tmp_path, current)


@pytest.mark.parametrize("split", ["test", "validation+test"])
def test_the_test_split_chooses_no_checkpoint(tmp_path: pathlib.Path, split) -> None:
    config = celeba_debug.get_config()
    config.eval_split, config.keep_best_checkpoints = split, 2
    refusal = re.escape(
        "config.keep_best_checkpoints=2 would choose checkpoints by the test split "
        f"(config.eval_split={split}): set config.eval_split=validation, or "
        "config.keep_best_checkpoints=0"
    )
    with pytest.raises(ValueError, match=refusal):
        workdir.check(tmp_path, config, MANIFEST)
    unchosen = config.copy_and_resolve_references()
    unchosen.keep_best_checkpoints = 0
    workdir.acquire(tmp_path, unchosen, MANIFEST, "data").close()
    with pytest.raises(ValueError, match=refusal):
        workdir.check(tmp_path, config, MANIFEST)
    # A run of before, which began with this setting, goes on.
    path = tmp_path / "config.json"
    saved = json.loads(path.read_text())
    path.write_text(json.dumps({**saved, "keep_best_checkpoints": 1}))
    workdir.acquire(tmp_path, config, MANIFEST, "data").close()


def test_a_longer_run_is_no_difference(tmp_path: pathlib.Path) -> None:
    config = celeba_debug.get_config()
    workdir.acquire(tmp_path, config, MANIFEST, "data")
    config.num_train_steps = 10_000
    workdir.acquire(tmp_path, config, MANIFEST, "data")
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["num_train_steps"] == 10_000


def test_checkpoints_of_unknown_settings_are_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "checkpoints/step-000000001").mkdir(parents=True)
    with pytest.raises(ValueError, match="has checkpoints but lacks config.json"):
        workdir.acquire(tmp_path, celeba_debug.get_config(), MANIFEST, "data")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", "["),
        ("config.json", "[]"),
        ("config.json", "[" * 100_000),
        ("config.json", '{"a\\nb": 1}'),
        ("dataset.json", "{}"),
        ("dataset.json", '{"digest": 1}'),
        ("dataset.json", '{"digest": "a\\nb"}'),
    ],
)
def test_a_damaged_file_is_named(tmp_path: pathlib.Path, name: str, text: str) -> None:
    config = celeba_debug.get_config()
    workdir.acquire(tmp_path, config, MANIFEST, "data")
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=f"{name} is damaged .*restore it"):
        workdir.acquire(tmp_path, config, MANIFEST, "data")


def test_a_workdir_has_one_trainer(tmp_path: pathlib.Path) -> None:
    config = celeba_debug.get_config()
    with workdir.acquire(tmp_path, config, MANIFEST, "data"):
        with pytest.raises(
            ValueError, match="^workdir=.* is in use by another trainer.train"
        ):
            workdir.acquire(tmp_path, config, MANIFEST, "data")
    other = dataclasses.replace(MANIFEST, name="other")
    # A refused `acquire` holds no lock.
    with pytest.raises(ValueError, match="holds a run with other settings"):
        workdir.acquire(tmp_path, config, other, "data")
    workdir.acquire(tmp_path, config, MANIFEST, "data").close()


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_lock_that_is_deleted_still_holds(tmp_path: pathlib.Path, how: str) -> None:
    config = celeba_debug.get_config()
    with workdir.acquire(tmp_path, config, MANIFEST, "data") as lock:
        (tmp_path / workdir.LOCK_NAME).unlink()
        if how == "replaced":
            (tmp_path / workdir.LOCK_NAME).write_text("")
        with pytest.raises(
            ValueError, match="^workdir=.* is in use by another trainer.train"
        ):
            workdir.acquire(tmp_path, config, MANIFEST, "data")
        # The directory itself is still locked, so the check passes.
        workdir.check_held(tmp_path, lock)


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_workdir_that_is_removed_is_noticed(tmp_path: pathlib.Path, how: str) -> None:
    config = celeba_debug.get_config()
    run_dir = tmp_path / "run"
    with workdir.acquire(run_dir, config, MANIFEST, "data") as lock:
        workdir.check_held(run_dir, lock)
        run_dir.rename(tmp_path / "moved")
        if how == "replaced":
            workdir.acquire(run_dir, config, MANIFEST, "data").close()
        with pytest.raises(ValueError, match="was removed or replaced while this"):
            workdir.check_held(run_dir, lock)


def test_a_workdir_that_is_moved_behind_a_link_is_the_same(tmp_path) -> None:
    run_dir = tmp_path / "run"
    with workdir.acquire(run_dir, celeba_debug.get_config(), MANIFEST, "data") as lock:
        run_dir.rename(tmp_path / "moved")
        run_dir.symlink_to(tmp_path / "moved")
        workdir.check_held(run_dir, lock)


def test_where_directories_have_no_locks_the_file_is_locked(tmp_path, monkeypatch):
    flock = fcntl.flock

    def refuse(opened: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(opened).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(opened, operation)

    monkeypatch.setattr("fcntl.flock", refuse)
    config = celeba_debug.get_config()
    with workdir.acquire(tmp_path, config, MANIFEST, "data") as lock:
        with pytest.raises(
            ValueError, match="^workdir=.* is in use by another trainer.train"
        ):
            workdir.acquire(tmp_path, config, MANIFEST, "data")
        workdir.check_held(tmp_path, lock)
        (tmp_path / workdir.LOCK_NAME).unlink()
        with pytest.raises(ValueError, match="was removed or replaced while this"):
            workdir.check_held(tmp_path, lock)


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_planted_for_the_lock_is_named(tmp_path: pathlib.Path, kind) -> None:
    path = tmp_path / "run" / workdir.LOCK_NAME
    path.parent.mkdir()
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(path)
    with pytest.raises(ValueError, match="lock is a link, or not a file: remove it"):
        workdir.acquire(path.parent, celeba_debug.get_config(), MANIFEST, "data")
    assert not (tmp_path / "elsewhere").exists()


DECISIVE = sorted(
    set(json.loads(celeba_debug.get_config().to_json())) - settings.CADENCE
)


@pytest.mark.parametrize("name", DECISIVE)
def test_every_decisive_setting_is_in_the_origin(name: str) -> None:
    config = celeba_debug.get_config()
    before = workdir.origin(config, MANIFEST)
    with config.ignore_type():
        config[name] = "other"
    after = workdir.origin(config, MANIFEST)
    assert after["config_digest"] != before["config_digest"]
    assert after["dataset_digest"] == before["dataset_digest"]


@pytest.mark.parametrize("name", sorted(settings.CADENCE))
def test_what_a_resumed_run_may_change_is_not_in_the_origin(name: str) -> None:
    config = celeba_debug.get_config()
    before = workdir.origin(config, MANIFEST)
    with config.ignore_type():
        config[name] = "other"
    assert workdir.origin(config, MANIFEST) == before


def test_a_file_system_without_locks_is_told_of(tmp_path, monkeypatch, caplog) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    workdir.acquire(tmp_path, celeba_debug.get_config(), MANIFEST, "data")
    assert "cannot lock" in caplog.text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (
            errno.ENOSPC,
            r"^the disk of workdir=.*run is full \(No space.* KiB are free",
        ),
        (errno.EDQUOT, r"^the disk of workdir=.*run is full \(Disk quota exceeded; "),
        (errno.EROFS, r"^workdir=.*run cannot be written \(Read-only file system\)"),
        (errno.EACCES, r"^workdir=.*run cannot be written \(Permission denied\)"),
        (errno.EEXIST, r"^workdir=.*run is a file, or inside a file: choose another"),
        (errno.EIO, r"Input/output error: '.*/run/lock'"),
    ],
)
def test_errors_of_the_system_name_the_workdir(tmp_path, number, text) -> None:
    run_dir = tmp_path / "a/run"
    error = OSError(number, os.strerror(number), str(run_dir / "lock"))
    assert re.search(text, workdir.describe_error(run_dir, error))


def test_an_error_of_another_file_is_told_as_it_is(tmp_path) -> None:
    error = OSError(errno.EACCES, "Permission denied", "/elsewhere")
    assert workdir.describe_error(tmp_path, error) == str(error)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("manifest.json", "a dataset"),
        (".progress/settings.json", "an unfinished dataset"),
        ("saved_model.pb", "an exported model"),
    ],
)
def test_a_run_is_not_mixed_with_other_files(
    tmp_path: pathlib.Path, name: str, kind: str
) -> None:
    config = celeba_debug.get_config()
    directory = tmp_path / "x"
    (directory / name).parent.mkdir(parents=True)
    (directory / name).touch()
    before = sorted(directory.rglob("*"))
    for call in (
        lambda: workdir.acquire(directory, config, MANIFEST, "data"),
        lambda: workdir.check(directory, config, MANIFEST),
    ):
        with pytest.raises(
            ValueError,
            match=f"^workdir={directory} is {kind}, and a run needs a directory of its "
            "own: give a new directory, or the `workdir` of a run$",
        ):
            call()
    assert sorted(directory.rglob("*")) == before


def test_a_run_that_was_mixed_with_a_dataset_goes_on(tmp_path: pathlib.Path) -> None:
    config = celeba_debug.get_config()
    workdir.acquire(tmp_path, config, MANIFEST, "data").close()
    (tmp_path / "manifest.json").touch()
    workdir.acquire(tmp_path, config, MANIFEST, "data").close()
