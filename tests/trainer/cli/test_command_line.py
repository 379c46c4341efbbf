import re

import pytest
import tensorflow as tf

from tests.trainer.trained_runs import run_module
from trainer.cli import command_line


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "--config.latnt_dim=3",
            "--config.latnt_dim is not a .*: did you mean --config.l",
        ),
        (
            "--config.layers.seed=3",
            "--config.layers.seed is not a setting of configs/celeb",
        ),
        ("--config.seed=x", " --config.seed=x must be an integer "),
        (
            "--vrtual_devices=3",
            "unknown flag --vrtual_devices: did you mean --virtual_devices",
        ),
        (
            "--config=nothing.py",
            "--config=nothing.py does not exist: give a Python file",
        ),
    ],
)
def test_a_wrong_flag_is_one_line(flag, message, tmp_path):
    done = run_module(
        "trainer.train",
        "--config=configs/celeba_debug.py",
        f"--dataset={tmp_path}",
        f"--workdir={tmp_path}",
        flag,
    )
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "error: " in line]
    assert re.search(message, line)
    assert "Traceback" not in done.stderr


def test_a_command_without_a_config_has_no_such_flag(tmp_path):
    done = run_module("trainer.export", f"--workdir={tmp_path}", "--config=nothing.py")
    assert done.returncode == 1
    assert "error: unknown flag --config (--help" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory: end other programs"),
        (RuntimeError("can't start new thread"), "raise ulimit -u"),
        (tf.errors.ResourceExhaustedError(None, None, "OOM of [9]\n"), r"OOM of \[9\]"),
        (tf.errors.UnknownError(None, None, "OpenFilesError: more\n"), "^more$"),
    ],
)
def test_what_the_machine_lacks_is_one_line(error: Exception, said: str) -> None:
    with (
        pytest.raises(ValueError, match=said) as actual,
        command_line.damage_explained(),
    ):
        raise error
    assert "\n" not in str(actual.value)


def test_other_errors_are_as_they_were() -> None:
    with pytest.raises(RuntimeError, match="^else$"), command_line.damage_explained():
        raise RuntimeError("else")
