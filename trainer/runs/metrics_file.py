"""metrics.jsonl of a workdir: one JSON object per line, with `step` and `split`."""

import json
import pathlib
from typing import Any

from trainer.system import atomic_files

NAME = "metrics.jsonl"

# TensorFlow's steps are int64.
_MAX_STEP = 2**63


def read(path: pathlib.Path) -> tuple[list[dict[str, Any]], int]:
    """Returns the lines of a metrics.jsonl and the number of damaged lines.

    An unfinished last line does not count as damaged: a trainer is still writing it, or
    was killed.

    Args:
        path: Path of the file. A missing file has no lines.
    """
    lines, num_damaged = [], 0
    text = path.read_bytes() if path.exists() else b""
    whole, _, _ = text.rpartition(b"\n")
    for part in whole.splitlines():
        try:
            line = json.loads(part)
        except (ValueError, RecursionError):
            line = None
        if (
            isinstance(line, dict)
            and type(line.get("step")) is int
            and abs(line["step"]) < _MAX_STEP
            and isinstance(line.get("split"), str)
        ):
            lines.append(line)
        else:
            num_damaged += 1
    return lines, num_damaged


def truncate(path: pathlib.Path, last_step: int) -> None:
    """Removes the lines of steps after `last_step`, and damaged or unfinished lines."""
    if not path.exists():
        return
    lines = []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            if line.endswith(b"\n") and json.loads(line)["step"] <= last_step:
                lines.append(line)
        except (ValueError, LookupError, TypeError, RecursionError):
            continue
    atomic_files.write(path, b"".join(lines))
