"""Runs `pipeline.prepare` as a command that a test can watch and kill.

`run_command` runs it in a copy of a preloaded process, unless `python` is given.
"""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Callable

from pipeline.storage import files
from tests import preloaded


def command(input_dir, output, *arguments, python=sys.executable) -> list[str]:
    program = [python, "-m", "pipeline.prepare", f"--input={input_dir}"]
    return [*program, f"--output={output}", *arguments]


def run_command(
    input_dir, output, *arguments, python: str | None = None
) -> subprocess.CompletedProcess[str]:
    python = python or preloaded.shared_python()
    return subprocess.run(
        command(input_dir, output, *arguments, python=python),
        capture_output=True,
        text=True,
        timeout=120,
    )


def run_verify(dataset) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [preloaded.shared_python(), "-m", "pipeline.verify", f"--dataset={dataset}"],
        capture_output=True,
        text=True,
    )


def kept_shards(text: str) -> tuple[int, int]:
    """Returns the numbers of kept shards and of all shards, from the log of one run.

    A run that keeps no shard logs only the number of shards that it wrote.
    """
    kept = re.findall(r"kept (\d+) of (\d+) shards", text)
    if not kept:
        kept = [("0", number) for number in re.findall(r"wrote (\d+) shards?: ", text)]
    assert len(kept) == 1, text
    return int(kept[0][0]), int(kept[0][1])


def num_finished(output: pathlib.Path) -> int:
    return len(list((output / files.PROGRESS_DIR).glob("celeba-*.json")))


def wait_until(
    condition: Callable[[], object], seconds: float = 60.0, pause: float = 0.01
) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(pause)


def processes() -> dict[int, tuple[int, int]]:
    """Returns the parent and the group of every process that is not a zombie."""
    parent_and_group = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z":
            parent_and_group[int(entry.name)] = int(fields[1]), int(fields[2])
    return parent_and_group


def children(pid: int) -> list[int]:
    """Returns the children of a process, with copies in place of `preloaded` calls."""
    pid = preloaded.copy_of(pid)
    return [
        preloaded.copy_of(child)
        for child, (parent, _) in sorted(processes().items())
        if parent == pid
    ]


def send(signal_number: int, pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal_number)
