"""Ctrl-C and SIGTERM: one line and the exit code 128 + the signal's number.

`python -m` imports the package of a command before anything else, and the package
calls `begin`: so a signal is answered while the libraries are imported, too. Until
then a signal would show a traceback: this module imports nothing that takes time.
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
# The process that begins, and not its copies; and its standard error, wherever file
# descriptor 2 leads later.
_pid: int | None = None
_stderr = 2
# Signals that came while a process was started; None at other times.
_deferred: list[int] | None = None


def is_command() -> bool:
    """Returns whether a command starts: `python -m` looks for its module."""
    return sys.argv[:1] == ["-m"]


def begin() -> None:
    """Has a signal end this process in one line."""
    global _pid, _stderr
    _pid = os.getpid()
    for number in _listened():
        signal.signal(number, _end)
    _open_closed_streams()
    _stderr = os.dup(2)


def explain(remedy: str) -> None:
    """Sets what the line of a signal tells the user to do."""
    global _remedy
    _remedy = remedy


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """Has a signal raise KeyboardInterrupt, for what must be undone before the end.

    The process then ends as it does elsewhere, whatever became of the exception. A
    second signal ends it at once.
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
            # Processes that were started are ended there.
            atexit._run_exitfuncs()
            os._exit(128 + received[0])
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def hidden_from_children() -> Iterator[None]:
    """Has the processes that are started meanwhile hear no signal of these.

    A terminal sends Ctrl-C to all of them. This process answers it, once they have all
    that they wait for, and they end when it does.
    """
    global _deferred
    # The mask is for the children. It is that of this thread alone, and a signal that
    # another thread takes would be answered here in the midst of a start.
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
    # A shell has what it starts in the background ignore SIGINT.
    return [each for each in _STOPPING if signal.getsignal(each) != signal.SIG_IGN]


def _end(number: int, frame: FrameType | None = None) -> None:
    del frame
    if _deferred is not None:
        _deferred.append(number)
        return
    _say()
    # They would end by themselves, but only once they have started.
    processes = sys.modules.get("multiprocessing.process")
    for child in getattr(processes, "active_children", list)():
        child.kill()
    # Threads would finish their work first, and show what they raise.
    os._exit(128 + number)


def _say() -> None:
    if os.getpid() != _pid:
        return
    line = f"error: interrupted: {_remedy}\n"
    tqdm = sys.modules.get("tqdm")
    # Below a terminal's ^C, and below a progress bar.
    bars = getattr(getattr(tqdm, "tqdm", None), "_instances", ())
    if os.isatty(_stderr) or bars:
        line = f"\n{line}"
    with contextlib.suppress(OSError):
        os.write(_stderr, line.encode())


def _open_closed_streams() -> None:
    """Opens standard streams that the caller has closed, to lead nowhere.

    A file that is opened later would take the place, and get what is printed.
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
