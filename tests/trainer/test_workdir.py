import dataclasses
import errno
import json
import os
import pathlib
import re

import pytest

from configs import celeba_debug
from pipeline import contract
from trainer import workdir

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
    workdir.claim(tmp_path / "a/b", config, MANIFEST, "data")
    saved = json.loads((tmp_path / "a/b/config.json").read_text())
    assert saved["latent_dim"] == 8
    dataset = json.loads((tmp_path / "a/b/dataset.json").read_text())
    assert dataset == {
        "digest": MANIFEST.digest,
        "settings": {"seed": 0},
        "path": str(pathlib.Path("data").absolute()),
    }
    workdir.claim(tmp_path / "a/b", config, MANIFEST, "data")


def test_every_difference_is_named(tmp_path: pathlib.Path) -> None:
    config = celeba_debug.get_config()
    workdir.claim(tmp_path, config, MANIFEST, "data")
    config.seed = 9
    other = dataclasses.replace(MANIFEST, name="other")
    with pytest.raises(
        ValueError,
        match="--config.seed was 0 and is now 9; the dataset's digest was "
        f"{MANIFEST.digest} and is now {other.digest}",
    ):
        workdir.claim(tmp_path, config, other, "data")


def test_a_longer_run_is_no_difference(tmp_path: pathlib.Path) -> None:
    config = celeba_debug.get_config()
    workdir.claim(tmp_path, config, MANIFEST, "data")
    config.num_train_steps = 10_000
    workdir.claim(tmp_path, config, MANIFEST, "data")
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["num_train_steps"] == 10_000


def test_checkpoints_of_unknown_settings_are_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "checkpoints/step-000000001").mkdir(parents=True)
    with pytest.raises(ValueError, match="has checkpoints but no config.json"):
        workdir.claim(tmp_path, celeba_debug.get_config(), MANIFEST, "data")


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
    workdir.claim(tmp_path, config, MANIFEST, "data")
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=f"{name} is damaged .*restore it"):
        workdir.claim(tmp_path, config, MANIFEST, "data")


def test_a_workdir_has_one_trainer(tmp_path: pathlib.Path) -> None:
    config = celeba_debug.get_config()
    with workdir.claim(tmp_path, config, MANIFEST, "data"):
        with pytest.raises(ValueError, match="another trainer.train is at work in --w"):
            workdir.claim(tmp_path, config, MANIFEST, "data")
    other = dataclasses.replace(MANIFEST, name="other")
    # A claim that is refused holds nothing.
    with pytest.raises(ValueError, match="holds a run with other settings"):
        workdir.claim(tmp_path, config, other, "data")
    workdir.claim(tmp_path, config, MANIFEST, "data").close()


def test_a_file_system_without_locks_is_told_of(tmp_path, monkeypatch, caplog) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    workdir.claim(tmp_path, celeba_debug.get_config(), MANIFEST, "data")
    assert "cannot lock" in caplog.text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (
            errno.ENOSPC,
            r"the disk of --workdir=.*run is full \(No space.* KiB are free",
        ),
        (errno.EDQUOT, r"the disk of --workdir=.*run is full \(Disk quota exceeded; "),
        (errno.EROFS, r"--workdir=.*run cannot be written \(Read-only file system\)"),
        (errno.EACCES, r"--workdir=.*run cannot be written \(Permission denied\)"),
        (errno.EEXIST, r"--workdir=.*run is a file, or in one: choose another"),
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
