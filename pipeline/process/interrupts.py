"""Ctrl-C and SIGTERM: a one-line error and the exit code 128 + the signal's number.

`python -m` imports the package of a command first, and the package calls `begin`. So a
signal during the import of libraries gets its one line, too. A signal before `begin`
would show a traceback, so this module imports nothing slow.
"""

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

_STOPPING = (signal.SIGINT, signal.SIGTERM)

_remedy = "run the same command again"
# ID of the process that called `begin`; a fork has another ID. `_stderr` is a copy of
# standard error, which stays when file descriptor 2 is redirected.
_pid: int | None = None
_stderr = 2
# Signals received while a process is being started; None at other times.
_deferred: list[int] | None = None


def is_command() -> bool:
    """Returns whether `python -m` starts a command whose module has not run yet."""
    return sys.argv[:1] == ["-m"]


def begin() -> None:
    """Makes a signal end this process with a one-line error."""
    global _pid, _stderr
    _pid = os.getpid()
    for number in _listened():
        signal.signal(number, _end)
    _open_closed_streams()
    _stderr = os.dup(2)


def explain(remedy: str) -> None:
    """Sets the remedy in the error line of a signal."""
    global _remedy
    _remedy = remedy


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """Makes a signal raise KeyboardInterrupt, for code that must clean up first.

    The process then exits with the usual line and code, even if the exception was
    handled. A second signal ends the process at once.
    """
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        del frame
        received.append(number)
        for other in handlers:
            signal.signal(other, _end)
        raise KeyboardInterrupt

    handlers = {number: signal.signal(number, interrupt) for number in _listened()}
    try:
        yield
    finally:
        if received:
            _say()
            # Exit functions end the children of this process.
            atexit._run_exitfuncs()
            os._exit(128 + received[0])
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def hidden_from_children() -> Iterator[None]:
    """Blocks SIGINT and SIGTERM for processes that are started inside the context.

    A terminal sends Ctrl-C to every process. This process answers for its children once
    they have started fully, and they end when it ends.
    """
    global _deferred
    # Children inherit the mask. Here it covers this thread only: another thread could
    # take a signal in the midst of a start, so `_end` defers the signal.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    _deferred = deferred = []
    try:
        yield
    finally:
        _deferred = None
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number in deferred:
            _end(number)


def _listened() -> list[signal.Signals]:
    # A shell makes its background processes ignore SIGINT.
    return [each for each in _STOPPING if signal.getsignal(each) != signal.SIG_IGN]


def _end(number: int, frame: FrameType | None = None) -> None:
    del frame
    if _deferred is not None:
        _deferred.append(number)
        return
    _say()
    # Children would end by themselves, but only after they have started.
    processes = sys.modules.get("multiprocessing.process")
    for child in getattr(processes, "active_children", list)():
        child.kill()
    # A normal exit would wait for threads, and show their exceptions.
    os._exit(128 + number)


def _say() -> None:
    if os.getpid() != _pid:
        return
    line = f"error: interrupted: {_remedy}\n"
    tqdm = sys.modules.get("tqdm")
    # Start a new line after a terminal's ^C or a progress bar.
    bars = getattr(getattr(tqdm, "tqdm", None), "_instances", ())
    if os.isatty(_stderr) or bars:
        line = f"\n{line}"
    with contextlib.suppress(OSError):
        os.write(_stderr, line.encode())


def _open_closed_streams() -> None:
    """Opens standard streams that the caller closed, connected to the null device.

    Otherwise a file opened later would take the free number and get the output.
    """
    for number, name, mode in (
        (0, "stdin", "r"),
        (1, "stdout", "w"),
        (2, "stderr", "w"),
    ):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
