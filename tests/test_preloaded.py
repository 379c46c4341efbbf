"""Copies of the preloaded Python are found, stopped and killed independently."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time

from tests import preloaded
from tests.pages import ROOT


def test_a_caller_that_is_killed_ends_no_other() -> None:
    python = preloaded.shared_python()
    request = {"program": python, "arguments": ["-c", "pass"], "directory": "/"}
    request |= {"environment": {}, "caller": os.getpid()}
    network = os.open("/proc/self/ns/net", os.O_RDONLY)
    fds = [0, 1, 2, network]
    # A caller closes its connection before its request, or between request and answer.
    for has_asked in 5 * [False, True]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as caller:
            caller.connect(str(pathlib.Path(python).with_name("socket")))
            if has_asked:
                socket.send_fds(caller, [json.dumps(request).encode()], fds)
    done = subprocess.run([python, "-c", "print(5)"], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("5\n", "")


def test_a_copy_has_copies_of_the_same_python() -> None:
    python = preloaded.shared_python()
    program = "from tests import preloaded; print(preloaded.shared_python())"
    done = subprocess.run(
        [python, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == (f"{python}\n", "")


def state(pid: int) -> str:
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0]


def test_what_is_at_work_is_stopped_and_killed() -> None:
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [preloaded.shared_python(), "-c", program], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert preloaded.copy_of(process.pid) == pid != process.pid
    preloaded.send(process, signal.SIGSTOP)
    end = time.monotonic() + 60
    while state(pid) != "T":
        assert time.monotonic() < end, "timed out"
        time.sleep(0.01)
    preloaded.send(process, signal.SIGKILL)
    assert process.communicate() == ("", None)
    assert process.returncode == -signal.SIGKILL
