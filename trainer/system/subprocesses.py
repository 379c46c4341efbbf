"""Processes of trainer.train, which end with the one that started them."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import IO

_PR_SET_PDEATHSIG = 1


def start_training(
    train_flags: Sequence[str],
    output: int | IO[str],
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Starts trainer.train; to be called in the main thread, with which it dies.

    Args:
        train_flags: Its flags.
        output: Where all that it says goes, as for `subprocess.Popen`.
        environment: Variables beside those of this process.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "trainer.train", *train_flags],
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # Ctrl-C comes to the parent alone, which hands it on.
        start_new_session=True,
        preexec_fn=_die_with_parent,
    )


def send(processes: Iterable[subprocess.Popen[str]], number: int) -> None:
    """Sends a signal to every process that is there."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(number)


def exit_code(returncode: int) -> int:
    """Returns the code of an exit, or 128 + the number of the signal that ended it.

    Example:
        >>> exit_code(4), exit_code(-9)
        (4, 137)
    """
    return returncode if returncode >= 0 else 128 - returncode


def describe(code: int) -> str:
    """Returns an `exit_code` in words.

    Example:
        >>> describe(4), describe(137)
        ('exit code 4', 'SIGKILL')
    """
    if code > 128:
        return signal.Signals(code - 128).name
    return f"exit code {code}"


def _die_with_parent() -> None:
    """Has the system end a process whose parent was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
