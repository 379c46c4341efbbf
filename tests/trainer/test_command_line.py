import re

import pytest

from runs import run_module


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "--config.latnt_dim=3",
            "--config.latnt_dim is no .*: did you mean --config.l",
        ),
        (
            "--config.layers.seed=3",
            "--config.layers.seed is no setting of configs/celeb",
        ),
        ("--config.seed=x", "--config.seed=x: invalid literal for int"),
        ("--vrtual_devices=3", "'vrtual_devices'. Did you mean: virtual_devices"),
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
    assert "Unknown command line flag 'config'" in done.stderr
    assert "Traceback" not in done.stderr
