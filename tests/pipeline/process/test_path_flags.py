"""Flags with a path as their value behave alike in all commands."""

import ast
import os
import pathlib
import shlex
import subprocess
import sys

import pytest
from absl import flags

from pipeline.process import path_flags

ROOT = pathlib.Path(__file__).parents[3]
# Text flags whose value is not a path.
NO_PATHS = {"host", "image_dtype", "preprocess", "profile_steps", "resize", "source"}
NO_PATHS |= {"kernel_variable", "split", "split_folders", "split_fractions", "where"}
# Path flags that are split at commas first; `path_flags.parse` reads each part.
OTHERS = {"sweep", "workdir"}


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("runs/a", "runs/a"),
        ("~", "/home/me"),
        ("~/runs/a", "/home/me/runs/a"),
        ("runs/~/a", "runs/~/a"),
        ("./~", "./~"),
        ("./gs:/a", "./gs:/a"),
        ("a:b", "a:b"),
        ("my runs/a,b", "my runs/a,b"),
        ("file:///data/a%20b", "/data/a b"),
        ("file:/data/a", "/data/a"),
        ("FILE://localhost/a", "/a"),
    ],
)
def test_what_a_user_types_becomes_a_path(text: str, expected: str) -> None:
    assert path_flags.parse(text) == expected
    assert path_flags.parse(text, takes_urls=True) == expected


@pytest.mark.parametrize(
    "text",
    [
        "gs://bucket/run",
        "s3://bucket",
        "S3://bucket/run",
        "gs:/bucket/run",
        "hdfs://host:9000/run",
        "https://host/run",
        "dbfs:/run",
        "host:/run",
        "me@host:/run",
        "C:/run",
    ],
)
def test_a_url_is_no_local_path(text: str) -> None:
    with pytest.raises(ValueError, match="takes only local paths"):
        path_flags.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\0b", "must not contain a zero byte"),
        (
            "~nobody-of-this-name/a",
            "~nobody-of-this-name is not a user's home directory",
        ),
        ("file://host/a", "must be file:///PATH on this machine"),
        ("file:a", "must be file:///PATH on this machine"),
        ("gs:/bucket/a", "two slashes: give gs://bucket/a, or ./gs:/bucket/a"),
    ],
)
def test_an_invalid_path_is_an_error(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        path_flags.parse(text, takes_urls=True)


def test_urls_stay_as_they_are_where_they_are_allowed() -> None:
    url = "s3://bucket/faces"
    assert path_flags.parse(url, takes_urls=True) == url


def test_a_flag_is_parsed_and_is_of_the_module_that_defines_it() -> None:
    values = flags.FlagValues()
    holder = path_flags.define("where_to", None, "Somewhere.", flag_values=values)
    values(["program", "--where_to=~/a"])
    assert holder.value == "/home/me/a"
    assert values.find_module_defining_flag("where_to") == __name__
    with pytest.raises(flags.IllegalFlagValueError, match="--where_to=gs://a: this is"):
        values(["program", "--where_to=gs://a"])


@pytest.mark.parametrize(
    "path", ["my runs/a", "a=1,b=(2,3)", "it's", "$HOME", "*", "a\nb"]
)
def test_a_shell_reads_a_shown_command_as_it_is_meant(path: str) -> None:
    shown = path_flags.command("trainer.tensorboard", workdir=path)
    assert shlex.split(shown)[2:] == ["trainer.tensorboard", f"--workdir={path}"]


def test_every_flag_of_a_path_is_one_of_these() -> None:
    flag_names = set()
    for file in [*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("trainer/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
                ("DEFINE_string", "DEFINE_multi_string")
            ):
                (name, *_) = node.args
                assert isinstance(name, ast.Constant)
                flag_names.add(name.value)
    assert flag_names <= NO_PATHS | OTHERS


def test_a_command_expands_and_refuses(tmp_path: pathlib.Path) -> None:
    environment = {
        **os.environ,
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
    }
    program = [sys.executable, "-m", "pipeline.synthesize", "--num_images=30"]
    for output, code in (("~/faces", 0), ("s3://bucket/faces", 1)):
        done = subprocess.run(
            [*program, f"--output={output}"],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
    assert (tmp_path / "home/faces/img_align_celeba.zip").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
