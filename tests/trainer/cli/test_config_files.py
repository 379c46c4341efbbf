import pathlib

import pytest

from trainer.cli import config_files

ROOT = pathlib.Path(__file__).parents[3]
FLAG = "--config=configs/celeba_debug.py"


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--config.latent_dims=3"],
        [FLAG, "--config.latent_dim=3", "--config.layer_defaults.batch_norm=False"],
        ["-config", "configs/celeba_debug.py", "-noconfig.show_strip"],
        [FLAG, "--config.layer_defaults={}", "--virtual_devices=2"],
        ["--config=nothing.py", FLAG],
    ],
)
def test_what_is_right_passes(flags):
    config_files.check(["train", *flags])


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "latent_dims=3",
            "latent_dims is not a .*: did you mean --config.latent_dim or",
        ),
        (
            "latent_dim.x=3",
            "latent_dim.x is not a setting .*: did you mean --config.late",
        ),
        (
            "encoder_filters[0]=3",
            r"encoder_filters\[0\] is not a .*: did you mean --config.e",
        ),
        (
            "qqqqqq=1",
            "qqqqqq is not a setting of configs/celeba_debug.py: its settings are "
            "adam_b",
        ),
    ],
)
def test_a_setting_that_is_not_there_is_named_with_what_is_near_it(flag, message):
    with pytest.raises(config_files.ConfigError, match=f"^--config.{message}"):
        config_files.check(["train", FLAG, f"--config.{flag}"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = (", r"fails: '\(' was never closed \(line 1 of PATH\)$"),
        ("import nothing_of_this_name", "fails: ModuleNotFoundError: .*line 1 of PATH"),
        (
            "def get_config(): f()\ndef f(): raise ValueError('a\\nb')",
            r"fails: ValueError: a b \(line 2 of PATH\)$",
        ),
        (
            "def get_config(): return 1 / 0",
            "fails: ZeroDivisionError: .*line 1 of PATH",
        ),
        ("seed = 1", "has no function get_config$"),
        (
            "def get_config(): pass",
            "returns None from get_config, which must return a ConfigDict$",
        ),
        (
            None,
            "does not exist: give a Python file that has a function get_config, or one "
            "of celeba, .*, mnist_static$",
        ),
    ],
)
def test_a_config_file_that_fails_is_one_line(text, message, tmp_path: pathlib.Path):
    path = tmp_path / "settings.py"
    if text is not None:
        path.write_text(text)
    expected = f"^--config={path} {message.replace('PATH', str(path))}"
    with pytest.raises(config_files.ConfigError, match=expected) as actual:
        config_files.check(["train", f"--config={path}"])
    assert "\n" not in str(actual.value)


def test_a_wrong_name_is_answered_with_names_near_it() -> None:
    with pytest.raises(
        config_files.ConfigError, match=r"exist \(did you mean celeba\?\): give"
    ):
        config_files.check(["train", "--config=celba"])


@pytest.mark.parametrize(
    ("flags", "changed"),
    [
        (["--config=celeba"], ["--config=CONFIGS/celeba.py"]),
        (["-config", "mnist_m2:x"], ["-config", "CONFIGS/mnist_m2.py:x"]),
        (["--config=celeb", "--x=celeba"], ["--config=celeb", "--x=celeba"]),
        (["--config=./celeba"], ["--config=./celeba"]),
        (["--config=~/a.py:x"], ["--config=HOME/a.py:x"]),
        (["celeba", "--config"], ["celeba", "--config"]),
    ],
)
def test_a_packaged_config_has_a_name(
    flags: list[str],
    changed: list[str],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    # A directory of the user does not hide the packaged configs.
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/__init__.py").write_text("")
    places = str(ROOT / "configs"), str(pathlib.Path.home())
    expected = [
        text.replace("CONFIGS", places[0]).replace("HOME", places[1])
        for text in changed
    ]
    assert config_files.expanded(["train", *flags]) == ["train", *expected]


def test_a_file_comes_before_a_packaged_config(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "celeba").write_text("")
    assert config_files.expanded(["train", "--config=celeba"])[1] == "--config=celeba"


def test_every_config_has_a_name() -> None:
    files = {path.stem for path in (ROOT / "configs").glob("*.py")} - {"__init__"}
    assert set(config_files.packaged()) == files


def test_a_file_of_another_kind_is_none(tmp_path: pathlib.Path):
    path = tmp_path / "settings.txt"
    path.write_text("seed = 1")
    with pytest.raises(config_files.ConfigError, match="its name must end in .py"):
        config_files.check(["train", f"--config={path}"])


def test_what_follows_a_colon_is_given_to_the_function(tmp_path: pathlib.Path):
    path = tmp_path / "settings.py"
    path.write_text(
        "from ml_collections import ConfigDict, config_dict\n"
        "def get_config(name):\n"
        "    return ConfigDict({name: config_dict.required_placeholder(int)})\n"
    )
    flag = f"--config={path}:seed"
    config_files.check(["train", flag, "--config.seed=2"])
    with pytest.raises(config_files.ConfigError, match="its settings are seed"):
        config_files.check(["train", flag, "--config.number=2"])
