"""A Python that has imported TensorFlow and Beam already, so commands start at once.

    with preloaded.python() as program:
        subprocess.run([program, "-m", "trainer.train", ...])

One server process imports the libraries that the commands share, which takes six
seconds. Each call of the program then runs in a copy (a fork) of the server. The server
imports nothing of this repository, so a command runs the code of its working directory.
A copy has the standard streams, variables and network namespace of its call. Signals to
the call reach the copy, the call returns the copy's exit code, and both end together.
"""

import atexit
import contextlib
import functools
import json
import os
import pathlib
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

SHARED = (
    "tensorflow",
    "keras",
    "ml_collections.config_flags",
    "tensorboard.default",
    "tensorboard.program",
    "apache_beam.runners.portability.fn_api_runner.fn_runner",
    "apache_beam.runners.worker.sdk_worker",
    "numba",
    "matplotlib.pyplot",
    "sklearn.ensemble",
    "sklearn.linear_model",
)
# Copies run modules, code and files; Python itself gets all other calls. A call takes
# only 20 ms, because it skips `site` and runs only the imports at the top of this file.
_PROGRAM = """#!/bin/sh
case $1 in
  -m | -c | [!-]*) exec '{python}' -IS '{here}' call '{socket}' "$0" "$@" ;;
  *) exec '{python}' "$@" ;;
esac
"""
_HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
_MOST_BYTES = 1 << 18
_NETWORK = "/proc/self/ns/net"
# Process names: a call's name has the process id of its copy. A copy's name has the
# process id of its call, until the command sets another name.
_CALL_NAME, _COPY_NAME = "copy {}", "for {}"


@contextlib.contextmanager
def python(added: Mapping[str, Sequence[str]] | None = None) -> Iterator[str]:
    """Yields the path of the program, which exists until the context ends.

    Args:
        added: Flags to append to a command line, keyed by a word in it, such as a
            module. A flag that the command line sets itself is not appended.
    """
    import tempfile

    # A copy that is killed late may still write to the directory.
    with tempfile.TemporaryDirectory(
        prefix="vaeline-", ignore_cleanup_errors=True
    ) as directory:
        path = f"{directory}/socket"
        program = pathlib.Path(directory, "python")
        program.write_text(
            _PROGRAM.format(python=sys.executable, here=__file__, socket=path)
        )
        program.chmod(0o755)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(path)
            listener.listen(64)
            server = subprocess.Popen(
                [sys.executable, __file__, "serve", str(listener.fileno())]
                + [json.dumps(dict(added or {}))],
                env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )
        try:
            yield str(program)
        finally:
            server.kill()
            server.wait()


@functools.cache
def shared_python() -> str:
    """Returns the path of a program that exists until this process ends."""
    if pathlib.Path(sys.executable).with_name("socket").exists():
        return sys.executable  # This process is a copy already.
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(python())


def copy_of(pid: int) -> int:
    """Returns the process id of the copy that does the work of a call.

    Send signals that a call cannot forward, such as SIGSTOP, to the copy. The command's
    children are children of the copy.

    Args:
        pid: Process id of a call. The id of any other process is returned as it is.
    """
    call, actual = _CALL_NAME.format(""), []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        name = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
        if name.startswith(call):
            return int(name.removeprefix(call))
    for path in pathlib.Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if path.read_text().strip() == _COPY_NAME.format(pid):
                actual.append(int(path.parent.name))
    # Forks of a copy have its name too; the copy came first.
    return min(actual, default=pid)


def send(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Sends a signal to the process that does the work of a running command."""
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            os.kill(copy_of(process.pid), number)


def call(path: str, program: str, arguments: Sequence[str]) -> int:
    """Asks the server at a socket to run a command, and returns its exit code."""
    request = {
        "program": os.path.abspath(program),
        "arguments": arguments,
        "directory": os.getcwd(),
        "environment": dict(os.environ),
        "caller": os.getpid(),
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.connect(path)
        network = os.open(_NETWORK, os.O_RDONLY)
        socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2, network])
        pid = int(server.recv(_MOST_BYTES))
        pathlib.Path("/proc/self/comm").write_text(_CALL_NAME.format(pid))
        for number in _HANDED_ON:
            signal.signal(number, lambda number, _: os.kill(pid, number))
        code = os.waitstatus_to_exitcode(int(server.recv(_MOST_BYTES)))
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def serve(listener: socket.socket) -> dict:
    """Forks a copy of this process for each call; returns the request in the copy."""
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        # Copies and their callers, keyed by the descriptor that signals a copy's end.
        copies: dict[int, tuple[int, socket.socket]] = {}
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    caller, _ = listener.accept()
                    data, fds, *_ = socket.recv_fds(caller, _MOST_BYTES, 4)
                    if not data:
                        caller.close()
                        continue
                    pid = os.fork()
                    if pid == 0:
                        _take_streams(fds[:3])
                        _enter_network(fds[3])
                        return json.loads(data)
                    for fd in fds:
                        os.close(fd)
                    _answer(caller, pid)
                    end = os.pidfd_open(pid)
                    copies[end] = pid, caller
                    selector.register(end, selectors.EVENT_READ)
                    selector.register(caller, selectors.EVENT_READ, pid)
                elif key.fileobj in copies:
                    pid, caller = copies.pop(key.fd)
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    _, status = os.waitpid(pid, 0)
                    if caller in selector.get_map():
                        selector.unregister(caller)
                        _answer(caller, status)
                    caller.close()
                elif selector.get_map().get(key.fd) is key:
                    # The caller was killed, so its copy must do no more work.
                    selector.unregister(key.fileobj)
                    os.kill(key.data, signal.SIGKILL)


def _answer(caller: socket.socket, number: int) -> None:
    # The caller may have been killed since it asked.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        caller.send(str(number).encode())


def _end_with_parent() -> None:
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _take_streams(fds: Sequence[int]) -> None:
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    _end_with_parent()


def _enter_network(fd: int) -> None:
    import ctypes

    # Only root may enter a namespace, even the current one.
    if os.fstat(fd).st_ino != os.stat(_NETWORK).st_ino:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(fd, 0) != 0:
            raise OSError(ctypes.get_errno(), "cannot enter the network of the call")
    os.close(fd)


def run(request: dict, added: Mapping[str, Sequence[str]]) -> None:
    """Runs a command line in this process, as Python would."""
    import runpy

    pathlib.Path("/proc/self/comm").write_text(_COPY_NAME.format(request["caller"]))
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    # Processes that the command starts are copies too.
    sys.executable = request["program"]
    first, *rest = with_flags(request["arguments"], added)
    paths = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:1] = [os.getcwd(), *map(os.path.abspath, paths)]
    if first == "-m":
        sys.argv = ["-m", *rest[1:]]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv, sys.path[0] = [first, *rest], os.path.dirname(os.path.abspath(first))
        runpy.run_path(first, run_name="__main__")


def with_flags(
    arguments: Sequence[str], added: Mapping[str, Sequence[str]]
) -> list[str]:
    """Returns a command line plus the flags for its words, unless it sets them."""
    flags = [flag for word in arguments for flag in added.get(word, ())]
    given = {word.split("=")[0] for word in arguments}
    return [*arguments, *(flag for flag in flags if flag.split("=")[0] not in given)]


def main() -> None:
    """Runs a call, or the server that answers calls."""
    verb, where, *rest = sys.argv[1:]
    if verb == "call":
        sys.exit(call(where, rest[0], rest[1:]))
    import gc
    import importlib

    _end_with_parent()
    for name in SHARED:
        importlib.import_module(name)
    import numba

    # The first compiled function of a process takes a second, so call one here.
    numba.njit(lambda: 0)()
    gc.freeze()
    with socket.socket(fileno=int(where)) as listener:
        # Copies share compiled bytecode, even where PYTHONDONTWRITEBYTECODE is set.
        sys.pycache_prefix = f"{os.path.dirname(listener.getsockname())}/bytecode"
        sys.dont_write_bytecode = False
        request = serve(listener)
    run(request, json.loads(rest[0]))


if __name__ == "__main__":
    main()
