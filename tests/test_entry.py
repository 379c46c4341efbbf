"""Common behaviour of all commands: a wrong flag or a signal ends in one line."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

import pytest

from pipeline.process import entry
from tests import preloaded

ROOT = pathlib.Path(__file__).parents[1]
# Flags that each command requires.
COMMANDS = {
    "pipeline.encode": ("--model=m", "--dataset=d", "--output=o"),
    "pipeline.prepare": ("--input=i", "--output=o"),
    "pipeline.synthesize": ("--output=o",),
    "pipeline.verify": ("--dataset=d",),
    "trainer.doctor": ("--config=configs/celeba.py", "--dataset=d", "--workdir=w"),
    "trainer.evaluate": ("--workdir=w",),
    "trainer.export": ("--workdir=w", "--output=o"),
    "trainer.generate": ("--workdir=w",),
    "trainer.launch": ("--config=configs/celeba.py", "--dataset=d", "--workdir=w"),
    "trainer.report": ("--workdir=w",),
    "trainer.sweep": (
        *("--sweep=seed=1,2", "--config=configs/celeba.py"),
        *("--dataset=d", "--workdir=w"),
    ),
    "trainer.tensorboard": ("--workdir=w",),
    "trainer.train": ("--config=configs/celeba.py", "--dataset=d", "--workdir=w"),
}
MODULES = sorted(COMMANDS)
WITHOUT_TENSORFLOW = ("trainer.launch", "trainer.report", "trainer.tensorboard")


def run(module: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [preloaded.shared_python(), "-m", module, *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def only_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_every_command_is_here() -> None:
    actual = {
        f"{path.parent.name}.{path.stem}"
        for package in ("pipeline", "trainer")
        for path in (ROOT / package).glob("*.py")
        if "__main__" in path.read_text(encoding="utf-8")
    }
    assert actual == set(COMMANDS)


@pytest.mark.parametrize("module", MODULES)
def test_a_wrong_flag_of_any_command_is_one_line(module: str) -> None:
    flags = COMMANDS[module]
    assert "unexpected stray" in only_line(run(module, *flags, "stray"))
    assert "nonsense" in only_line(run(module, *flags, "--nonsense=3"))
    # absl's own errors quote the value, which may hold a password.
    line = only_line(run(module, *flags, "--verbosity=http://me:secret@host/x"))
    assert "--verbosity=http://***@host/x" in line
    last = flags[-1].partition("=")[0]
    assert f"{last}" in only_line(run(module, *flags[:-1]))
    if module != "pipeline.encode":
        line = only_line(run(module, *[flag for flag in flags if "--sweep" in flag]))
        example = re.search(r"\bneeded: for example (.*) \(--help", line)
        assert example, line
        # The flags of trainer.launch are those of trainer.train.
        shown = module.replace("launch", "train")
        assert example[1].startswith(f"python -m {shown} --")
    assert f"{last}= is empty" in only_line(run(module, *flags[:-1], f"{last}="))


@pytest.mark.parametrize("module", MODULES)
def test_help_needs_no_other_flag(module: str) -> None:
    done = run(module, "--help")
    assert done.returncode == 0
    assert "error: " not in done.stderr
    assert re.search(r"^\w+ flags:\n", done.stdout, re.MULTILINE)
    assert re.search(r"^  --\[?\w+", done.stdout, re.MULTILINE)


def group_of(pid: int) -> list[int]:
    """Returns the processes of a group, except zombies."""
    actual = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group, *_ = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(group) == pid and state not in "ZX":
            actual.append(int(stat.parent.name))
    return actual


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.005)


def is_answering(pid: int) -> bool:
    """Returns whether a process catches SIGTERM, which Python by itself does not."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    (mask,) = re.findall(r"^SigCgt:\t(\w+)$", status, re.MULTILINE)
    return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)


def interrupt(
    command: Sequence[str], number: int, is_time: Callable[[int], bool]
) -> str:
    """Interrupts a command and returns its last line; its whole process group ends.

    Args:
        command: Command to run in a process group of its own.
        number: Signal to send. Ctrl-C goes to the whole group, as from a terminal.
        is_time: Function that tells from the command's process id whether to send now.
    """
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: is_time(process.pid))
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number, stderr
    assert "Traceback" not in stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
    wait_until(lambda: not group_of(process.pid))
    return line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", MODULES)
def test_a_signal_while_a_command_imports_is_one_line(module: str, number: int) -> None:
    def is_time(pid: int) -> bool:
        if module.startswith("trainer") and module not in WITHOUT_TENSORFLOW:
            # During TensorFlow's import, standard error is a deleted temporary file.
            return os.readlink(f"/proc/{pid}/fd/2").endswith("(deleted)")
        return is_answering(pid)

    # A preloaded Python would skip the slow imports that this test interrupts.
    command = [sys.executable, "-m", module, *COMMANDS[module]]
    line = interrupt(command, number, is_time)
    assert line == "error: interrupted: run the same command again"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_faces_are_drawn_leaves_no_zip(
    tmp_path: pathlib.Path, number: int
) -> None:
    partial = tmp_path / "img_align_celeba.zip.partial"
    command = [sys.executable, "-m", "pipeline.synthesize", f"--output={tmp_path}"]
    line = interrupt(
        [*command, "--num_images=3000", "--num_workers=2"],
        number,
        lambda pid: partial.exists() and len(group_of(pid)) == 4,
    )
    assert line == "error: interrupted: run the same command again"
    assert not (tmp_path / "img_align_celeba.zip").exists()


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (entry.refuse, "error: http://***@host:9/x is wrong (--help shows all flags)"),
        (entry.fail, "error: http://***@host:9/x is wrong"),
    ],
)
def test_a_line_of_an_error_has_no_passwords(
    end: Callable[[Exception], NoReturn], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        end(ValueError("http://me:secret@host:9/x\nis wrong"))
    assert ended.value.code == said


def test_what_ignores_interrupts_goes_on_ignoring_them() -> None:
    ignoring = "import signal, runpy, sys; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    program = f"{ignoring}; sys.argv = ['-m']; import pipeline; signal.raise_signal(2)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60)
    assert done.returncode == 0


def test_an_import_by_another_program_changes_no_handler() -> None:
    program = "import signal, pipeline; print(signal.getsignal(15) == signal.SIG_DFL)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize("buffering", ["", "1"])
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
        (">&- 2>&- <&-", 0, ""),
        ("2> /dev/full > /dev/null", 0, ""),
    ],
)
def test_an_output_that_nobody_reads_shows_no_traceback(
    buffering: str, redirection: str, code: int, said: str
) -> None:
    program = (
        "import sys, time; sys.argv = ['-m']; from pipeline.process import entry;"
        "sys.argv = ['x']; entry.run(lambda argv: time.sleep(0.2) or print('text'))"
    )
    script = f'set -o pipefail; {sys.executable} -c "{program}" {redirection}'
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": buffering},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (code, said)
