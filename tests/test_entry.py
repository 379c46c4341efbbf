"""What all commands have in common: wrong flags, and signals, are one line."""

import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import pytest

import preloaded

ROOT = pathlib.Path(__file__).parents[1]
# Flags that each command needs.
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
    found = {
        f"{path.parent.name}.{path.stem}"
        for package in ("pipeline", "trainer")
        for path in (ROOT / package).glob("*.py")
        if "__main__" in path.read_text(encoding="utf-8")
    }
    assert found == set(COMMANDS)


@pytest.mark.parametrize("module", MODULES)
def test_a_wrong_flag_of_any_command_is_one_line(module: str) -> None:
    flags = COMMANDS[module]
    assert "unexpected stray" in only_line(run(module, *flags, "stray")) or (
        module in ("pipeline.encode", "pipeline.prepare")
    )
    assert "nonsense" in only_line(run(module, *flags, "--nonsense=3"))
    last = flags[-1].partition("=")[0]
    assert f"{last}" in only_line(run(module, *flags[:-1]))
    assert f"{last}= is empty" in only_line(run(module, *flags[:-1], f"{last}="))


def children(pid: int) -> list[int]:
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == pid and fields[0] not in "ZX":
            found.append(int(stat.parent.name))
    return found


def interrupt(
    command: Sequence[str], number: int, *, after: float, is_group: bool
) -> None:
    """Starts a command in a group of its own, interrupts it, and checks its end."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(after)
    (os.killpg if is_group else os.kill)(process.pid, number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number, stderr
    assert "Traceback" not in stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: interrupted: ")
    end = time.monotonic() + 10
    while children(process.pid):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", MODULES)
def test_a_signal_while_a_command_imports_is_one_line(module: str, number: int) -> None:
    # Nothing is preloaded: TensorFlow and Beam take seconds.
    command = [sys.executable, "-m", module, *COMMANDS[module]]
    interrupt(command, number, after=0.3, is_group=number == signal.SIGINT)
