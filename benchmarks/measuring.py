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
    """What a command took.

    Attributes:
        seconds: From its start to its end.
        peak_bytes: The most memory at a time: the proportional set size (PSS) summed
            over the processes, so that a page that several share counts once.
        failure: Why it has no result; empty if it ended with exit code 0.
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
    """Runs a command to its end, or kills it with all its descendants.

    Args:
        command: The program and its arguments.
        services: Processes that work for it and are not its descendants; the memory
            of theirs counts too.
        max_seconds: After which it is killed.
        max_bytes: Of memory, from which it is killed.
        output: Where its output goes; to ours, if None.
        environ: Its environment; ours, if None.
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
                # The kernel walks through all of the memory, which slows its owner.
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
    """Returns the most memory that a process had at a time, shared pages and all."""
    status = _read(pathlib.Path(f"/proc/{pid}/status"))
    return sum(int(kib) * 1024 for kib in re.findall(r"VmHWM:\s*(\d+) kB", status))


def mapped_packages(pid: int) -> set[str]:
    """Returns the installed packages of which a process has loaded compiled modules."""
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
    """Ends processes at once, those that are still there."""
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
