"""Rows of all benchmarks: date, commit, hardware and measured values.

`history.csv` has a line for each cell, because every benchmark has columns of its own.
"""

import csv
import datetime
import os
import pathlib
import platform
import subprocess
from collections.abc import Mapping

from absl import flags

_RESULTS = flags.DEFINE_string(
    "results",
    str(pathlib.Path(__file__).with_name("history.csv")),
    "CSV file of all rows.",
)
_SHARED = ("date", "commit", "hardware")
_FIELDS = ("benchmark", "row", *_SHARED, "column", "value")

Row = Mapping[str, str]


def add_row(benchmark: str, measured: Mapping[str, str]) -> None:
    """Prints a row in Markdown, and appends it to the CSV file.

    Args:
        benchmark: Module under `benchmarks`.
        measured: Cells by column. Date, commit and hardware come before them.
    """
    shared = {
        "date": str(datetime.date.today()),
        "commit": _commit(),
        "hardware": _hardware(),
    }
    print(f"| {' | '.join([*shared.values(), *measured.values()])} |")
    path = pathlib.Path(_RESULTS.value)
    number = len(read(path).get(benchmark, ())) + 1 if path.exists() else 1
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if file.tell() == 0:
            writer.writerow(_FIELDS)
        for column, value in measured.items():
            writer.writerow([benchmark, number, *shared.values(), column, value])


def read(path: str | os.PathLike[str]) -> dict[str, list[Row]]:
    """Returns the rows of each benchmark, oldest first, as cells by column."""
    rows: dict[str, dict[str, dict[str, str]]] = {}
    with open(path, encoding="utf-8", newline="") as file:
        for cell in csv.DictReader(file):
            shared = {name: cell[name] for name in _SHARED}
            row = rows.setdefault(cell["benchmark"], {}).setdefault(cell["row"], shared)
            row[cell["column"]] = cell["value"]
    return {benchmark: list(found.values()) for benchmark, found in rows.items()}


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
