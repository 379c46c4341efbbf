"""Tables of the page: metrics, scores, dataset and provenance."""

import dataclasses
import importlib.metadata
import pathlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.reporting.html import run_files, texts
from trainer.reporting.html.run_files import RunFiles
from trainer.runs import settings

_PACKAGES = ("tensorflow", "keras", "numpy", "ml-collections", "pillow")
_MIB = 2**20


@dataclasses.dataclass(frozen=True)
class NumberTable:
    """A table of numbers as text.

    Attributes:
        columns: Title of each column.
        rows: Cells by row name: the text, empty if the column has no value, and the
            number with all its digits, which may be empty.
    """

    columns: Sequence[str]
    rows: Mapping[str, Sequence[tuple[str, str]]]


def metrics(run: RunFiles, names: Sequence[str]) -> NumberTable:
    """Returns the last metrics of each split, and the metrics of the best step."""
    columns = {}
    for split in run.splits:
        last = {}
        for line in run.metrics:
            if line["split"] == split:
                # Keep older values: a skipped step has no gradient norm, for example.
                last |= {
                    name: value
                    for name, value in line.items()
                    if run_files.is_number(value)
                }
        columns[f"{split}, step {texts.number(last['step'])}"] = last
    best = run.best_evaluation
    if best and best is not run.last_evaluation:
        columns[f"best {best['split']}, step {texts.number(best['step'])}"] = best
    return _number_table(columns, names)


def scores(runs: Mapping[str, RunFiles]) -> NumberTable:
    """Returns the results of `trainer.evaluate`.

    Args:
        runs: Runs by name; the name of a single run may be empty.
    """
    columns = {}
    for name, run in runs.items():
        for path, found in run.scores.items():
            column = f"{pathlib.Path(path).stem}, step {found.get('step', '?')}"
            columns[f"{name} {column}".lstrip()] = found
    names = dict.fromkeys(name for found in columns.values() for name in found)
    return _number_table(columns, [n for n in names if n not in ("step", "split")])


def dataset(run: RunFiles) -> dict[str, Any]:
    """Returns the dataset's digest and settings."""
    rows = {"digest": run.dataset["digest"]}
    if "path" in run.dataset:
        rows["place"] = run.dataset["path"]
    found = settings.flatten(run.dataset_settings)
    return rows | {f"--{name}": value for name, value in found.items()}


def provenance(run: RunFiles) -> dict[str, Any]:
    """Returns the values that show whether another run is identical to this one."""
    rows: dict[str, Any] = {"dataset digest": run.dataset["digest"]}
    with_ledger = [line for line in run.metrics if "ledger" in line]
    if with_ledger:
        line = with_ledger[-1]
        rows["ledger"] = f"{line['ledger']} at step {texts.number(line['step'])}"
    for index, meta in enumerate(run.saved):
        name = "newest checkpoint" if not index else "checkpoint"
        told = [f"step {meta.get('step')}"]
        if run_files.is_number(meta.get("num_bytes")):
            told.append(f"{meta['num_bytes'] / _MIB:.1f} MiB")
        if meta.get("dataset_digest", run.dataset["digest"]) != run.dataset["digest"]:
            told.append(f"from another dataset, {meta['dataset_digest']}")
        rows[f"{name}, {', '.join(told)}"] = f"sha256 {meta.get('sha256')}"
    if not run.saved:
        rows["checkpoint"] = "none yet"
    versions = [f"Python {platform.python_version()}"]
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    rows["versions on the machine that made this page"] = ", ".join(versions)
    return rows


def _number_table(
    columns: Mapping[str, Mapping[str, Any]], names: Sequence[str]
) -> NumberTable:
    """Returns a table with a row for each name that has a value."""
    rows = {
        name: [cell(column.get(name)) for column in columns.values()] for name in names
    }
    return NumberTable(
        list(columns),
        {name: cells for name, cells in rows.items() if any(text for text, _ in cells)},
    )


def cell(value: Any) -> tuple[str, str]:
    """Returns a value as text, a list as its length and range; and the exact number."""
    if run_files.is_number(value):
        return texts.number(value), texts.exact(value)
    if isinstance(value, list) and value and all(map(run_files.is_number, value)):
        low, high = texts.number(min(value)), texts.number(max(value))
        return f"{len(value)} values, {low} to {high}", ""
    return (value, "") if isinstance(value, str) else ("", "")
