import os
import subprocess
import sys
import time

import pytest

from benchmarks import measuring

# HOLD keeps 200 MB in memory; SPAWN runs HOLD in a child process.
HOLD = "import time; held = b'1' * 200_000_000; time.sleep({seconds})"
SPAWN = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


def held(seconds: int) -> list[str]:
    return [sys.executable, "-c", SPAWN, HOLD.format(seconds=seconds)]


def test_the_memory_of_children_and_services_counts():
    service = subprocess.Popen(held(60))
    try:
        usage = measuring.run(held(2), services=[service.pid])
    finally:
        measuring.kill(measuring.tree([service.pid]))
        service.wait()
    assert usage.failure == ""
    assert 400e6 < usage.peak_bytes < 500e6
    assert 2 < usage.seconds < 60


@pytest.mark.parametrize(
    ("limits", "failure"),
    [
        ({"max_bytes": 0.15e9}, "over 0.15 GB"),
        ({"max_seconds": 1.5}, "over 0.025 min"),
    ],
)
def test_a_command_beyond_its_limits_is_killed_with_its_children(limits, failure):
    marker = f"marker-{os.getpid()}-{time.monotonic_ns()}"
    command = held(60)
    command[-1] += f"  # {marker}"
    usage = measuring.run(command, **limits)
    assert usage.failure == failure
    assert usage.seconds < 30
    end_seconds = time.monotonic() + 10
    while marker in subprocess.check_output(["ps", "-eo", "args"], text=True):
        assert time.monotonic() < end_seconds


def test_an_exit_code_is_a_failure():
    usage = measuring.run([sys.executable, "-c", "raise SystemExit(3)"])
    assert usage.failure == "exit code 3"
