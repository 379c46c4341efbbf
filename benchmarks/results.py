"""Adds rows to benchmarks/RESULTS.md: date, commit, hardware and measured values."""

import datetime
import os
import pathlib
import platform
import subprocess
from collections.abc import Mapping

from absl import flags

_RESULTS = flags.DEFINE_string(
    "results", str(pathlib.Path(__file__).with_name("RESULTS.md")), "File to add to."
)


def add_row(benchmark: str, measured: Mapping[str, str]) -> None:
    """Prints a row, and adds it to the table of its benchmark.

    Args:
        benchmark: Module under `benchmarks`.
        measured: Cells by column. Date, commit and hardware come before them.
    """
    cells = {
        "date": str(datetime.date.today()),
        "commit": _commit(),
        "hardware": _hardware(),
        **measured,
    }
    row = f"| {' | '.join(cells.values())} |"
    print(row)
    path = pathlib.Path(_RESULTS.value)
    text = path.read_text() if path.exists() else "# Results\n"
    path.write_text(with_row(text, benchmark, tuple(cells), row))


def with_row(text: str, benchmark: str, columns: tuple[str, ...], row: str) -> str:
    """Returns a page of results with one more row in the table of its benchmark."""
    header = (
        f"\n## benchmarks/{benchmark}.py\n\n"
        f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|\n"
    )
    if header not in text:
        text += header
    before, _, after = text.partition(header)
    rows, separator, rest = after.partition("\n\n")
    rows = rows.rstrip("\n") + "\n" if rows.strip() else ""
    return f"{before}{header}{rows}{row}\n{separator[1:]}{rest}"


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    return found.stdout.strip() or "?"


def _hardware() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    cpu = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return f"{cpu[0] if cpu else platform.machine()}, {os.cpu_count()} cores"
