"""`vaeline COMMAND` equals `python -m MODULE`, down to exit code and signals."""

import ast
import importlib.metadata
import pathlib
import re
import signal
import subprocess
import sys

import pytest

from tests import preloaded, test_entry
from trainer.cli import console

ROOT = test_entry.ROOT
PROGRAM = "from trainer.cli import console; console.main()"


def vaeline(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [preloaded.shared_python(), "-c", PROGRAM, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_an_installation_has_the_program() -> None:
    for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())):
        if isinstance(node, ast.keyword) and node.arg == "entry_points":
            ((group, (line,)),) = ast.literal_eval(node.value).items()
    name, value = line.split(" = ")
    assert (group, name) == ("console_scripts", "vaeline")
    entry_point = importlib.metadata.EntryPoint(name, value, group)
    assert entry_point.load() is console.main


def test_every_command_is_listed_on_a_line() -> None:
    modules = [module for module, _ in console.COMMANDS.values()]
    assert sorted(modules) == test_entry.MODULES
    done = vaeline()
    assert (done.returncode, done.stderr) == (0, "")
    listed = re.findall(r"^  (\w+)  +\S", done.stdout, re.MULTILINE)
    assert listed == list(console.COMMANDS)
    assert [module.split(".")[1] for module in modules] == listed
    for flag in ("--help", "-h", "help"):
        assert vaeline(flag).stdout == done.stdout


def test_an_unknown_command_is_one_line() -> None:
    line = test_entry.only_line(vaeline("tarin", "--config=c"))
    assert line.startswith(
        "error: tarin is not a command of vaeline: give one of synth"
    )
    line = test_entry.only_line(vaeline("s3://me:secret@host/x"))
    assert line.startswith("error: s3://***@host/x is not a command")


def test_the_list_comes_at_once() -> None:
    program = f"{PROGRAM}; import sys; print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    imported = set(ast.literal_eval(done.stderr))
    assert "pipeline.process.output" in imported
    assert not imported & {"absl", "numpy", "tensorflow", "apache_beam"}


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("verify", ["--dataset=none"]),
        ("evaluate", ["--help"]),
        ("sweep", ["--nonsense=1"]),
        ("train", []),
    ],
)
def test_a_command_is_that_of_its_module(name: str, flags: list[str]) -> None:
    module, _ = console.COMMANDS[name]
    ours, theirs = vaeline(name, *flags), test_entry.run(module, *flags)
    assert (ours.returncode, ours.stdout, ours.stderr) == (
        theirs.returncode,
        theirs.stdout,
        theirs.stderr,
    )
    assert ours.stdout + ours.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_in_one_line(
    tmp_path: pathlib.Path, number: int
) -> None:
    command = [sys.executable, "-c", PROGRAM, "synthesize", f"--output={tmp_path}"]
    line = test_entry.interrupt(command, number, test_entry.is_answering)
    assert line == "error: interrupted: run the same command again"


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        ("| true", 1, ""),
        (
            "> /dev/full",
            1,
            "error: No space left on device: free some space and run the same command "
            "again\n",
        ),
        (">&-", 0, ""),
    ],
)
def test_a_list_that_nobody_reads_shows_no_traceback(
    redirection: str, code: int, said: str
) -> None:
    # Wait until the pipe has no reader, then write the list.
    program = f"import time; time.sleep(0.2); {PROGRAM}"
    script = f'set -o pipefail; {sys.executable} -c "{program}" {redirection}'
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (code, said)
