"""Several runs as one page: what differs, and which run is best."""

from typing import Any

from trainer.reporting.html import cards, figures, rendering, run_files, tables, texts
from trainer.reporting.html.run_files import RunFiles
from trainer.reporting.html.texts import number
from trainer.runs import settings

_MISSING = object()
# More names would make the sentence a list.
_MAX_NAMES = 4


def render(runs: dict[str, RunFiles]) -> str:
    """Returns the HTML text of the page that compares runs.

    Args:
        runs: Two or more runs by name; any part may be missing.
    """
    everything = list(runs.values())
    names = cards.curves(everything)
    differing = _differing({name: run.config for name, run in runs.items()})
    dataset = _differing({name: run.dataset_settings for name, run in runs.items()})
    return rendering.render(
        "comparison.html",
        title=f"{len(runs)} runs",
        runs=runs,
        sentences=_sentences(runs, list(differing)),
        overview=_overview(runs),
        differing=differing | {f"--{name}": row for name, row in dataset.items()},
        pictures=figures.compare(runs),
        curves=cards.compare(runs, names),
        course=cards.compare(runs, cards.course(everything)),
        scores=tables.scores(runs),
        footer=rendering.FOOTER,
    )


def _differing(by_run: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Returns a row of values for each setting that is not the same in all runs."""
    flat = {name: settings.flatten(found) for name, found in by_run.items()}
    rows = {}
    for setting in dict.fromkeys(name for found in flat.values() for name in found):
        values = [found.get(setting, _MISSING) for found in flat.values()]
        if any(value != values[0] for value in values):
            rows[setting] = [
                "—" if value is _MISSING else texts.setting(value) for value in values
            ]
    return rows


def _sentences(runs: dict[str, RunFiles], differing: list[str]) -> list[str]:
    found = []
    if len({run.dataset["digest"] for run in runs.values()}) > 1:
        found.append(
            "The runs use different datasets, so their values are not comparable."
        )
    best = {
        name: run.best_evaluation
        for name, run in runs.items()
        if run.best_evaluation is not None
    }
    splits = {line["split"] for line in best.values()}
    if len(best) > 1 and len(splits) == 1:
        ordered = sorted(best, key=lambda name: -best[name]["elbo"])
        first, second = ordered[:2]
        lead = best[first]["elbo"] - best[second]["elbo"]
        other = f"{number(lead)} above {second}" if lead else f"the same as {second}"
        found.append(
            f"{first} has the highest ELBO of the {splits.pop()} split: "
            f"{number(best[first]['elbo'])} nats per image at step "
            f"{number(best[first]['step'])}, {other}."
        )
    elif len(splits) > 1:
        found.append(
            "The runs are evaluated on different splits, so no run is called the best."
        )
    shown, more = differing[:_MAX_NAMES], differing[_MAX_NAMES:]
    if more:
        shown.append(f"{len(more)} more {'setting' if len(more) == 1 else 'settings'}")
    if shown:
        *first, last = shown
        names = f"{', '.join(first)} and {last}" if first else last
        found.append(f"The runs differ in {names}.")
    else:
        found.append("All settings of the runs are equal.")
    return found


def _overview(runs: dict[str, RunFiles]) -> tables.NumberTable:
    rows = {}
    for name, run in runs.items():
        best, last = run.best_evaluation, run.last_evaluation
        speeds = run_files.recent(run.metrics, "images_per_second")
        rows[name] = [
            tables.cell(run.step),
            tables.cell(last and last["elbo"]),
            tables.cell(best and best["elbo"]),
            tables.cell(best and best["step"]),
            ("" if run.busy_secs is None else texts.duration(run.busy_secs), ""),
            tables.cell(speeds[-1] if speeds else None),
        ]
    columns = [
        *("steps", "last ELBO", "best ELBO", "at step", "time at work", "images/s")
    ]
    return tables.NumberTable(columns, rows)
