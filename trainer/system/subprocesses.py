"""Processes of trainer.train, which end with the process that started them."""

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
    """Starts trainer.train, which the system kills when the calling thread ends.

    So call this function in the main thread.

    Args:
        train_flags: Flags of trainer.train.
        output: Destination of all its output, as for `subprocess.Popen`.
        environment: Variables to set beside the variables of this process.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "trainer.train", *train_flags],
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # Only the parent gets Ctrl-C; it passes the signal on.
        start_new_session=True,
        preexec_fn=_die_with_parent,
    )


def send(processes: Iterable[subprocess.Popen[str]], number: int) -> None:
    """Sends a signal to every process that still runs."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(number)


def exit_code(returncode: int) -> int:
    """Returns the exit code, or 128 + the number of the signal that ended a process.

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
    """Makes Linux kill this process when the thread that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
