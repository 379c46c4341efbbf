"""Draws the main figures of each benchmark by date.

    python -m benchmarks.plots

Reads all rows of benchmarks/history.csv, and writes a PNG file for each benchmark. The
runs of one day lie side by side. A marker stands for a machine: since 2026-11-28 the
same hardware name means another machine.
"""

import dataclasses
import itertools
import math
import pathlib
import re
import statistics
from collections.abc import Collection, Mapping, Sequence

from absl import app, flags
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks import results
from benchmarks.results import Row

_OUTPUT = flags.DEFINE_string(
    "plots",
    str(pathlib.Path(__file__).parents[1] / "docs/images/benchmarks"),
    "Directory of the PNG files.",
)
_NEW_MACHINE = "2026-11-28"
# Two markers for each name of hardware: before and since that day.
_MARKERS = "oxs+^1v*"
_MAX_DATES = 12


@dataclasses.dataclass(frozen=True)
class Panel:
    """One plot of a benchmark.

    Attributes:
        label: Label of the y axis, with the unit.
        columns: Columns with the plotted values.
        series: Name of a point's series, with `{COLUMN}` for a cell of its row and
            `{column}` for the name of the plotted column. A series has one colour.
        only: Allowed cells by column. Rows with other cells are left out.
        goals: Values of dashed lines.
        is_log: Whether the y axis is logarithmic.
    """

    label: str
    columns: tuple[str, ...]
    series: str = ""
    only: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    goals: tuple[float, ...] = ()
    is_log: bool = False


@dataclasses.dataclass(frozen=True)
class Point:
    """One plotted value.

    Attributes:
        place: Number of the day among the days with rows, plus a share of the day that
            grows from commit to commit.
        value: Measured value.
        series: Name of the series.
        machine: Name of the machine.
    """

    place: float
    value: float
    series: str
    machine: str


PANELS: Mapping[str, tuple[Panel, ...]] = {
    "prepare": (
        Panel("images/s, of Pillow's limit", ("of Pillow",), "{what}", goals=(0.9,)),
    ),
    "synthesize": (Panel("images/s of one core", ("median img/s",), "median batch"),),
    "reproduce": (Panel("ours minus published, nats", ("difference",), "{config}"),),
    "latent_sizes": (Panel("ELBO, nats", ("ELBO",), "{latents} latents"),),
    "builders": (
        Panel(
            "speed of ours, times a peer's",
            ("ours is",),
            "{system}, {images} images",
            only={"system": ("tfds", "plain")},
            is_log=True,
        ),
        Panel(
            "images/s, of Pillow's limit",
            ("of Pillow",),
            "ours, {images} images, {stored as}",
            only={"system": ("ours",), "images": ("50000",)},
            goals=(0.9,),
        ),
    ),
    "resume": (
        Panel("kill to next step, s", ("kill to next step s",), "median of three"),
        Panel("read for a batch, MB", ("MB read",), "from step {read from step}"),
    ),
    "train_step": (
        Panel(
            "images/s, of the best peer",
            ("of the best peer",),
            "{system}",
            goals=(1.15,),
        ),
    ),
    "input_pipeline": (
        Panel(
            "speed of ours, times a peer's",
            ("ours is",),
            "{system}",
            only={
                "system": (
                    "PyTorch DataLoader, JPEG",
                    "PyTorch DataLoader, arrays",
                    "grain, ArrayRecord",
                    "plain tf.data, stored",
                )
            },
            goals=(1, 20),
            is_log=True,
        ),
        Panel(
            "images/s, of a memcpy",
            ("of memcpy", "of a cached memcpy"),
            "{system}, {column}",
            only={"system": ("ours, stored", "ours, float32")},
            goals=(0.2, 0.3),
        ),
    ),
    "replicas": (
        Panel("step time, 2 devices of 1", ("2 of 1",), "{config}", goals=(1.05,)),
    ),
    "start_up": (
        Panel(
            "first step, of import + trace",
            ("of import + trace",),
            "{config}",
            goals=(1.5,),
        ),
    ),
    "latent_math": (
        Panel("speed, times a plain loop's", ("faster than it",), "{what}", goals=(5,)),
    ),
    "scaling": (
        Panel(
            "step time, of the smallest",
            ("of the first",),
            "{by} {value}",
            only={
                "by": ("virtual devices", "latents", "image side"),
                "value": ("4", "1024", "256"),
            },
            is_log=True,
        ),
    ),
    "overheads": (
        Panel("beside the steps, % of them", ("beside %",), "{config}", goals=(2,)),
    ),
    "threads": (
        Panel(
            "speed, of a thread per core",
            ("speed with 1", "speed with 2", "speed with 8"),
            "{column}",
        ),
    ),
}


def number(cell: str) -> float | None:
    """Returns the first number of a cell, or the median of several as in 5.5/5.3/5.5.

    A cell that does not begin with a number, such as "-" or "over 16 GB", has none.
    """
    if re.fullmatch(r"[\d.]+(/[\d.]+)+", cell):
        return statistics.median(map(float, cell.split("/")))
    found = re.match(r"[+-]?\d+(\.\d+)?", cell)
    return float(found[0]) if found else None


def points(rows: Sequence[Row], panel: Panel) -> list[Point]:
    """Returns the points of a panel, oldest first.

    Args:
        rows: Rows of one benchmark, oldest first.
        panel: Panel to draw.
    """
    commits: dict[str, dict[str, None]] = {}
    for row in rows:
        commits.setdefault(row["date"], {})[row["commit"]] = None
    days = list(commits)
    made = []
    for row in rows:
        if any(row[column] not in allowed for column, allowed in panel.only.items()):
            continue
        of_day = list(commits[row["date"]])
        share = (of_day.index(row["commit"]) + 0.5) / len(of_day)
        for column in panel.columns:
            value = number(row.get(column, "-"))
            if value is not None:
                made.append(
                    Point(
                        days.index(row["date"]) + share,
                        value,
                        panel.series.format_map({**row, "column": column}),
                        _machine(row["hardware"], row["date"] >= _NEW_MACHINE),
                    )
                )
    return made


def plot(benchmark: str, rows: Sequence[Row]) -> Figure:
    """Returns the figure of a benchmark.

    Args:
        benchmark: Module under `benchmarks`.
        rows: Rows of the benchmark, oldest first.

    Raises:
        ValueError: If `PANELS` lacks the benchmark.
    """
    if benchmark not in PANELS:
        raise ValueError(
            f"benchmarks/plots.py has no plot for the rows of {benchmark}: add "
            f"{benchmark} to PANELS"
        )
    panels = PANELS[benchmark]
    shown = [points(rows, panel) for panel in panels]
    markers = _markers(rows, {point.machine for found in shown for point in found})
    figure = Figure(figsize=(8, 3.2), dpi=100, layout="constrained")
    (all_axes,) = figure.subplots(1, len(panels), squeeze=False)
    for axes, panel, found in zip(all_axes, panels, shown, strict=True):
        _draw(axes, found, panel, markers)
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=4 // len(panels),
            fontsize="x-small",
            handlelength=1,
            frameon=False,
        )
        _label_days(axes, list(dict.fromkeys(row["date"] for row in rows)))
    kinds = [
        Line2D([], [], marker=marker, linestyle="none", color="gray", label=machine)
        for machine, marker in markers.items()
    ]
    if any(panel.goals for panel in panels):
        kinds.append(Line2D([], [], linestyle="--", color="gray", label="goal"))
    figure.legend(
        handles=kinds, loc="outside lower center", ncols=3, fontsize="x-small"
    )
    return figure


def _machine(hardware: str, is_new: bool) -> str:
    return f"{hardware}, {'since' if is_new else 'before'} {_NEW_MACHINE}"


def _markers(rows: Sequence[Row], shown: Collection[str]) -> dict[str, str]:
    machines = [
        _machine(hardware, is_new)
        for hardware in dict.fromkeys(row["hardware"] for row in rows)
        for is_new in (False, True)
    ]
    pairs = zip(machines, itertools.cycle(_MARKERS), strict=False)
    return {machine: marker for machine, marker in pairs if machine in shown}


def _draw(
    axes: Axes, shown: Sequence[Point], panel: Panel, markers: Mapping[str, str]
) -> None:
    for index, series in enumerate(dict.fromkeys(point.series for point in shown)):
        color = f"C{index % 10}"
        axes.plot([], [], color=color, linewidth=3, label=series)
        for machine, marker in markers.items():
            of_both = [
                point
                for point in shown
                if (point.series, point.machine) == (series, machine)
            ]
            axes.plot(
                [point.place for point in of_both],
                [point.value for point in of_both],
                marker=marker,
                color=color,
                linestyle="none",
                markersize=5,
            )
    for goal in panel.goals:
        axes.axhline(goal, color="gray", linestyle="--", linewidth=1)
    if panel.is_log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.set_ylabel(panel.label, fontsize="small")
    axes.tick_params(labelsize="small")
    axes.grid(axis="y", alpha=0.3)


def _label_days(axes: Axes, days: Sequence[str]) -> None:
    every = math.ceil(len(days) * len(axes.figure.axes) / _MAX_DATES)
    shown = range(0, len(days), every)
    axes.set_xticks([place + 0.5 for place in shown], [days[place] for place in shown])
    axes.set_xlim(0, len(days))
    for place in range(1, len(days)):
        axes.axvline(place, color="gray", alpha=0.3, linewidth=1)
    axes.set_xlabel("date of measurement", fontsize="small")


def write(history: Mapping[str, Sequence[Row]], output_dir: str) -> None:
    """Writes NAME.png for each benchmark of the rows."""
    directory = pathlib.Path(output_dir)
    directory.mkdir(parents=True, exist_ok=True)
    for benchmark, rows in history.items():
        canvas = FigureCanvasAgg(plot(benchmark, rows))
        canvas.print_png(str(directory / f"{benchmark}.png"))


def main(argv: list[str]) -> None:
    """Reads the rows and draws."""
    del argv
    write(results.read(flags.FLAGS.results), _OUTPUT.value)


if __name__ == "__main__":
    app.run(main)
