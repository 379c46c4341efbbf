"""Runs a command, and measures its time and the memory of all its processes."""

import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import IO

_POLL_SECONDS = 0.25


@dataclasses.dataclass(frozen=True)
class Usage:
    """The time and memory that a command used.

    Attributes:
        seconds: Seconds from the command's start to its end.
        peak_bytes: Peak memory in bytes: the proportional set size (PSS) summed over
            the processes. A page that several processes share counts once.
        failure: Reason why there is no result; empty after exit code 0.
    """

    seconds: float
    peak_bytes: int
    failure: str


def run(
    command: Sequence[str],
    *,
    services: Sequence[int] = (),
    max_seconds: float = float("inf"),
    max_bytes: float = float("inf"),
    output: IO[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Usage:
    """Runs a command to its end, or kills it with all its descendants at a limit.

    Args:
        command: Program and its arguments.
        services: IDs of processes that work for the command but are not its
            descendants. Their memory counts too.
        max_seconds: Time limit in seconds.
        max_bytes: Memory limit in bytes.
        output: File for the command's output; None for our own output.
        environ: Environment of the command; None for our own environment.
    """
    start_seconds = time.monotonic()
    peak_bytes, failure, pause_seconds = 0, "", 0.0
    with subprocess.Popen(
        command, stdout=output, stderr=output, env=environ
    ) as process:
        try:
            while not failure and not _has_ended(process, pause_seconds):
                poll_seconds = time.monotonic()
                peak_bytes = max(peak_bytes, tree_bytes([process.pid, *services]))
                now_seconds = time.monotonic()
                if peak_bytes > max_bytes:
                    failure = f"over {max_bytes / 1e9:g} GB"
                elif now_seconds - start_seconds > max_seconds:
                    failure = f"over {max_seconds / 60:g} min"
                # A reading walks through all memory, which slows the measured process.
                pause_seconds = max(_POLL_SECONDS, 9 * (now_seconds - poll_seconds))
        finally:
            seconds = time.monotonic() - start_seconds
            if process.poll() is None:
                kill(tree([process.pid]))
    if not failure and process.returncode:
        failure = f"exit code {process.returncode}"
    return Usage(seconds, peak_bytes, failure)


def tree_bytes(roots: Sequence[int]) -> int:
    """Returns the PSS of processes and their descendants in bytes."""
    return sum(
        int(line.split()[1]) * 1024
        for pid in tree(roots)
        for line in _read(pathlib.Path(f"/proc/{pid}/smaps_rollup")).splitlines()
        if line.startswith("Pss:")
    )


def peak_resident_bytes(pid: int) -> int:
    """Returns the peak resident memory of a process, including shared pages."""
    status = _read(pathlib.Path(f"/proc/{pid}/status"))
    return sum(int(kib) * 1024 for kib in re.findall(r"VmHWM:\s*(\d+) kB", status))


def mapped_packages(pid: int) -> set[str]:
    """Returns the installed packages whose compiled modules a process has loaded."""
    maps = _read(pathlib.Path(f"/proc/{pid}/maps"))
    return set(re.findall(r"/site-packages/(\w+)/\S+\.so", maps))


def tree(roots: Sequence[int]) -> list[int]:
    """Returns the ids of processes and their descendants, parents first."""
    children: dict[int, list[int]] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdecimal():
            fields = _read(entry / "stat").rpartition(")")[2].split()
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = list(roots)
    for pid in found:
        found += children.get(pid, [])
    return found


def kill(pids: Sequence[int]) -> None:
    """Kills processes at once, and ignores processes that have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _has_ended(process: subprocess.Popen[bytes], timeout_seconds: float) -> bool:
    try:
        process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text()
    except OSError:  # The process has ended.
        return ""
