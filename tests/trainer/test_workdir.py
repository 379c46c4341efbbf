import dataclasses
import json
import pathlib

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


def test_half_a_file_is_never_seen(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(TypeError):
        workdir.write_atomically(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_text() == "old"
    workdir.write_atomically(path, b"new")
    assert path.read_text() == "new"


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
