"""Cards of the page: a metric with its curves; metrics that never change."""

import dataclasses
from collections.abc import Sequence

from trainer.reporting.html import charts, run_files, texts
from trainer.reporting.html.run_files import RunFiles

# Metrics in the order of the page; metrics not listed here follow `CURVES`.
CURVES = ("loss", "pixel_loss", "latent_loss", "elbo", "recon_nll", "kl")
COURSE = (
    "learning_rate",
    "beta",
    "gradient_norm",
    "images_per_second",
    "data_wait_percent",
    "memory/process_mib",
    "memory/gpu_peak_mib",
)
_UNITS = {
    "elbo": "nats per image; higher is better",
    "recon_nll": "nats per image",
    "kl": "nats per image",
    "data_wait_percent": "of the training time",
    "memory/process_mib": "MiB",
    "memory/gpu_peak_mib": "MiB",
}


@dataclasses.dataclass(frozen=True)
class Card:
    """A metric with its curves.

    Attributes:
        name: Name of the metric.
        unit: Unit of its values; may be empty.
        legend: Label, number of its colour and last value, for each curve.
        chart: SVG element.
    """

    name: str
    unit: str
    legend: Sequence[tuple[str, int, float]]
    chart: str


def curves(runs: Sequence[RunFiles]) -> list[str]:
    """Returns the names of the metrics of objective and model, in the page's order."""
    names = {name for run in runs for name in run.metric_names}
    others = sorted(names - {*CURVES, *COURSE})
    return [name for name in (*CURVES, *others) if name in names]


def course(runs: Sequence[RunFiles]) -> list[str]:
    """Returns the names of the metrics of the training itself, in the page's order."""
    return [name for name in COURSE if any(name in run.metric_names for run in runs)]


def make(run: RunFiles, names: Sequence[str]) -> list[Card]:
    """Returns a card with a curve by split for each metric that changes."""
    styles = {
        split: charts.Style(index % charts.NUM_COLOURS)
        for index, split in enumerate(run.splits)
    }
    cards = []
    for name in names:
        series = run_files.points(run.metrics, name)
        if _num_points(series) > 1 and not _is_constant(series):
            cards.append(_card(name, series, styles, run.step))
    return cards


def compare(runs: dict[str, RunFiles], names: Sequence[str]) -> list[Card]:
    """Returns a card for each metric that changes, with curves of all runs.

    A run has one colour. Its curve of training is dashed, unless there are no others.

    Args:
        runs: Runs by name.
        names: Names of the metrics.
    """
    colours = {name: i % charts.NUM_COLOURS for i, name in enumerate(runs)}
    last_step = max(run.step for run in runs.values())
    cards = []
    for name in names:
        series, styles = {}, {}
        for run_name, run in runs.items():
            for split, points in run_files.points(run.metrics, name).items():
                label = f"{run_name} {split}"
                series[label] = points
                styles[label] = charts.Style(colours[run_name], split == "train")
        if all(style.is_dashed for style in styles.values()):
            styles = {each: charts.Style(styles[each].colour) for each in styles}
        if _num_points(series) > len(series) and not _is_constant(series):
            cards.append(_card(name, series, styles, last_step))
    return cards


def constants(run: RunFiles, names: Sequence[str]) -> dict[str, str]:
    """Returns the value of each metric that never changes, by name of the metric."""
    found = {}
    for name in names:
        series = run_files.points(run.metrics, name)
        if _num_points(series) > 1 and _is_constant(series):
            ((_, value), *_), *_ = series.values()
            found[name] = texts.number(value)
    return found


def _card(
    name: str,
    series: dict[str, list[tuple[int, float]]],
    styles: dict[str, charts.Style],
    last_step: int,
) -> Card:
    legend = [
        (label, styles[label].colour, points[-1][1]) for label, points in series.items()
    ]
    chart = charts.curves(f"{name} by step", series, styles, last_step)
    return Card(name, _UNITS.get(name, ""), legend, chart)


def _num_points(series: dict[str, list[tuple[int, float]]]) -> int:
    return sum(map(len, series.values()))


def _is_constant(series: dict[str, list[tuple[int, float]]]) -> bool:
    return len({value for points in series.values() for _, value in points}) == 1
