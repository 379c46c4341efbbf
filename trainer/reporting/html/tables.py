"""The tables of the page: metrics, scores, settings, dataset, provenance."""

import importlib.metadata
import pathlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.reporting.html import run_files, texts
from trainer.reporting.html.run_files import RunFiles
from trainer.reporting.html.texts import escape
from trainer.runs import settings

_PACKAGES = ("tensorflow", "keras", "numpy", "ml-collections", "pillow")
_MIB = 2**20


def section(title: str, content: str) -> str:
    """Returns a part of the page; none without content."""
    if not content:
        return ""
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>"


def metrics(run: RunFiles, names: Sequence[str]) -> str:
    """Returns the last values of metrics by split, and those of the best step."""
    columns = {}
    for split in run.splits:
        last = {}
        for line in run.metrics:
            if line["split"] == split:
                # A skipped step has no gradient norm, and a first call no speed.
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


def scores(run: RunFiles) -> str:
    """Returns what `trainer.evaluate` found."""
    columns = {
        f"{pathlib.Path(path).stem}, step {found.get('step', '?')}": found
        for path, found in run.scores.items()
    }
    names = dict.fromkeys(name for found in run.scores.values() for name in found)
    return _number_table(columns, [n for n in names if n not in ("step", "split")])


def dataset(run: RunFiles) -> str:
    """Returns the dataset's digest and settings."""
    found = run.dataset.get("settings")
    rows = {"digest": run.dataset["digest"]}
    if "path" in run.dataset:
        rows["place"] = run.dataset["path"]
    if isinstance(found, dict):
        rows |= {f"--{name}": value for name, value in settings.flatten(found).items()}
    return _pairs(rows)


def provenance(run: RunFiles) -> str:
    """Returns what tells whether another run is this one."""
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
            told.append(f"of another dataset, {meta['dataset_digest']}")
        rows[f"{name}, {', '.join(told)}"] = f"sha256 {meta.get('sha256')}"
    if not run.saved:
        rows["checkpoint"] = "none yet"
    versions = [f"Python {platform.python_version()}"]
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    rows["installed where this page was made"] = ", ".join(versions)
    return _pairs(rows)


def config(run: RunFiles) -> str:
    """Returns all settings, folded up."""
    values = settings.flatten(run.config)
    rows = "".join(
        f"<dl><dt>{escape(name)}</dt><dd>{escape(texts.setting(value))}</dd></dl>"
        for name, value in values.items()
    )
    return (
        f"<details open><summary>All {len(values)} settings of config.json</summary>"
        f'<div class="columns">{rows}</div></details>'
    )


def _number_table(
    columns: Mapping[str, Mapping[str, Any]], names: Sequence[str]
) -> str:
    """Returns a table with a row for each name; lists by their range."""
    rows = []
    for name in names:
        cells = [_cell(column.get(name)) for column in columns.values()]
        if any(cells):
            row = "".join(f"<td>{cell}</td>" for cell in cells)
            rows.append(f'<tr><th scope="row">{escape(name)}</th>{row}</tr>')
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in columns)
    return (
        '<div class="card scroll"><table class="numbers">\n'
        f"<thead><tr><th></th>{head}</tr></thead>\n"
        f"<tbody>{''.join(rows)}</tbody>\n</table></div>"
    )


def _cell(value: Any) -> str:
    if run_files.is_number(value):
        return texts.number(value)
    if isinstance(value, list) and value and all(map(run_files.is_number, value)):
        low, high = texts.number(min(value)), texts.number(max(value))
        return f"{len(value)} values, {low} to {high}"
    return escape(value) if isinstance(value, str) else ""


def _pairs(rows: Mapping[str, Any]) -> str:
    cells = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        f'<td class="mono">{escape(texts.setting(value))}</td></tr>'
        for name, value in rows.items()
    )
    return (
        '<div class="card scroll"><table class="pairs">\n'
        f"<tbody>{cells}</tbody>\n</table></div>"
    )
