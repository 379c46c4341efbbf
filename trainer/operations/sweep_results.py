"""Results of a sweep: one table with a row for each run."""

import csv
import io
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.storage import files
from trainer.operations.sweep_plan import Run, readable
from trainer.runs import metrics_file
from trainer.system import atomic_files

Table = list[dict[str, Any]]


def make_table(runs: Sequence[Run], statuses: Mapping[str, str]) -> Table:
    """Returns a row for each run.

    Args:
        runs: Runs of the sweep.
        statuses: Status of each run, by its name.

    Returns:
        Columns of a row: `run`, the values that the sweep changes, `status` and `step`;
        the `loss` of the last step that training logged; every metric of the last
        evaluation, as `eval/...`; and `best_elbo` of all evaluations with its step.
    """
    return [
        {
            "run": run.name,
            **{name: readable(value) for name, value in run.values.items()},
            "status": statuses[run.name],
            **summarise(metrics_file.read(run.workdir / metrics_file.NAME)[0]),
        }
        for run in runs
    ]


def summarise(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the results in the lines of a metrics.jsonl; see `make_table`.

    Example:
        >>> trained = {"step": 20, "split": "train", "loss": 0.5, "ledger": "ab"}
        >>> better, worse = {"step": 10, "elbo": -2.0}, {"step": 20, "elbo": -3.0}
        >>> summarise([better, trained, worse])
        {'step': 20, 'loss': 0.5, 'eval/elbo': -3.0, 'best_elbo': -2.0, \
'best_elbo_step': 10}
    """
    # Only training lines have a ledger; `split` may be the same in both kinds of lines.
    trained = [line for line in lines if "ledger" in line]
    evaluated = [line for line in lines if "ledger" not in line]
    result: dict[str, Any] = {}
    if lines:
        result["step"] = max(line["step"] for line in lines)
    if trained:
        result["loss"] = trained[-1].get("loss")
    if evaluated:
        metrics = dict(evaluated[-1])
        first = {"elbo": metrics.pop("elbo", None)}
        for name in ("step", "split"):
            metrics.pop(name, None)
        result |= {f"eval/{name}": value for name, value in (first | metrics).items()}
    finite = [line for line in evaluated if math.isfinite(line.get("elbo", math.nan))]
    if finite:
        best = max(finite, key=lambda line: line["elbo"])
        result |= {"best_elbo": best["elbo"], "best_elbo_step": best["step"]}
    return result


def as_markdown(table: Table) -> str:
    """Returns the table in Markdown, with columns as wide as their cells.

    Example:
        >>> print(as_markdown([{"run": "a=1", "loss": 0.25}, {"run": "a=10"}]), end="")
        | run  | loss |
        |------|------|
        | a=1  | 0.25 |
        | a=10 |      |
    """
    columns = _columns(table)
    cells = [columns, *([_short(row.get(name)) for name in columns] for row in table)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def write(table: Table, directory: pathlib.Path) -> None:
    """Writes results.csv with all digits, and results.md."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(table), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    files.make_directory(directory)
    atomic_files.write(directory / "results.csv", text.getvalue().encode())
    atomic_files.write(directory / "results.md", as_markdown(table).encode())


def _columns(table: Table) -> list[str]:
    """Returns the names of all columns; the columns of the best ELBO come last."""
    names = dict.fromkeys(name for row in table for name in row)
    return sorted(names, key=lambda name: name.startswith("best"))


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)
