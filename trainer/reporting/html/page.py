"""A run as one self-contained HTML page."""

import dataclasses
import pathlib
import statistics
from collections.abc import Sequence

from pipeline.storage import files
from trainer.reporting.html import charts, rendering, run_files, tables, texts
from trainer.reporting.html.run_files import Picture, RunFiles
from trainer.reporting.html.texts import number
from trainer.runs import settings
from trainer.system import atomic_files

# Metrics in the order of the page; metrics not listed here follow `_CURVES`.
_CURVES = ("loss", "pixel_loss", "latent_loss", "elbo", "recon_nll", "kl")
_COURSE = (
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
_CAPTIONS = {
    "reconstruction": (
        "Reconstructions",
        "Images of the evaluated split, each followed by its reconstruction.",
    ),
    "samples/sampled": ("Samples", "Decoded draws from the prior."),
    "samples/interpolated": (
        "Interpolation",
        "Equal steps between two draws from the prior.",
    ),
    "latents/traversed": (
        "Traversals",
        "Each row varies one latent of an image from −3 to 3. The latents with the "
        "largest KL divergence come first.",
    ),
    "samples/neighbours": (
        "Nearest training images",
        "Samples, each followed by its nearest training image.",
    ),
    "latents/scatter": (
        "Latents",
        "Posterior means of the evaluated split, in two dimensions.",
    ),
    "dataset/overview": ("Dataset", "Some images of the dataset."),
}
# Number of grids in the row of samples over time.
_NUM_SAMPLES = 6
_FOOTER = "Made from the files of the run by python -m trainer.report"
# Lines of metrics.jsonl that the median speed covers.
_NUM_RECENT_LINES = 20


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture with its caption.

    Attributes:
        picture: The picture.
        title: Title of this kind of picture.
        note: Step of the picture; empty if it never changes.
        text: Explanation of its content.
    """

    picture: Picture
    title: str
    note: str
    text: str


@dataclasses.dataclass(frozen=True)
class Card:
    """A metric with its curves.

    Attributes:
        name: Name of the metric.
        unit: Unit of its values; may be empty.
        legend: Split, number of its colour and last value, for each curve.
        chart: SVG element.
    """

    name: str
    unit: str
    legend: Sequence[tuple[str, int, float]]
    chart: str


def check_output(output: pathlib.Path) -> None:
    """Checks that the output is a new file or an earlier page, which may be replaced.

    Raises:
        ValueError: If another file is there.
        OSError: If the existing file cannot be read.
    """
    if output.exists() and _FOOTER.encode() not in output.read_bytes():
        raise ValueError(
            f"output={output} exists, and trainer.report did not write it: give "
            "another name"
        )


def write(directory: pathlib.Path, output: pathlib.Path) -> None:
    """Writes the page of a run.

    Args:
        directory: Workdir of the run; a trainer may still be writing to it.
        output: File of the page, written atomically; its directory is created.

    Raises:
        ValueError: If the directory is no workdir, its config.json or dataset.json is
            damaged, or the page cannot be written.
        OSError: If a file cannot be read.
    """
    text = render(run_files.read(directory, _NUM_SAMPLES))
    try:
        files.make_directory(output.parent)
        # Names in JSON may hold lone surrogates, which UTF-8 cannot encode.
        atomic_files.write(output, text.encode("utf-8", "replace"))
    except OSError as error:
        raise ValueError(
            f"output={output} cannot be written ({error.strerror}): choose another "
            "`output`"
        ) from error


def render(run: RunFiles) -> str:
    """Returns the HTML text of the page.

    Args:
        run: Files of the run; any part may be missing.
    """
    names = run.metric_names
    others = [name for name in names if name not in (*_CURVES, *_COURSE)]
    curves = [name for name in (*_CURVES, *sorted(others)) if name in names]
    course = [name for name in _COURSE if name in names]
    return rendering.render(
        "page.html",
        run=run,
        tiles=_tiles(run),
        figures=_figures(run),
        curves=_cards(run, curves),
        course=_cards(run, course),
        metrics=tables.metrics(run, [*curves, *course]),
        scores=tables.scores(run),
        dataset=tables.dataset(run),
        provenance=tables.provenance(run),
        settings=settings.flatten(run.config),
        footer=_FOOTER,
    )


def _tiles(run: RunFiles) -> list[tuple[str, str, str]]:
    """Returns title, value and note of the key figures."""
    target = run.target_step
    note = f"of {number(target)}" if target is not None else "so far"
    tiles = [("steps", number(run.step), note)]
    batch_size = run.config.get("global_batch_size")
    if run_files.is_number(batch_size):
        seen = number(run.step * batch_size)
        tiles.append(("images seen", seen, f"{batch_size} per step"))
    for title, line in (
        ("last ELBO", run.last_evaluation),
        ("best ELBO", run.best_evaluation),
    ):
        if line:
            where = f"{line['split']}, step {number(line['step'])}"
            tiles.append((title, number(line["elbo"]), where))
    if run.busy_secs is not None:
        at_work = texts.duration(run.busy_secs)
        tiles.append(("time at work", at_work, "without pauses"))
    for name, title, unit in (
        ("images_per_second", "speed", " img/s"),
        ("data_wait_percent", "waiting for data", " %"),
    ):
        values = [
            value
            for points in run_files.points(run.metrics, name).values()
            for _, value in points[-_NUM_RECENT_LINES:]
        ]
        if values:
            text = f"{number(statistics.median(values))}{unit}"
            tiles.append((title, text, f"median of {len(values)} lines"))
    return tiles


def _figures(run: RunFiles) -> list[Figure]:
    """Returns the newest grid of each kind, in the order of the page."""
    known = list(_CAPTIONS)
    ordered = sorted(
        run.pictures,
        key=lambda each: (
            known.index(each.name) if each.name in known else len(known),
            each.name,
        ),
    )
    figures = []
    for picture in ordered:
        title, text = _CAPTIONS.get(picture.name, (picture.name, ""))
        is_still = picture.name == "dataset/overview"
        note = "" if is_still else f"step {number(picture.step)}"
        figures.append(Figure(picture, title, note, text))
    return figures


def _cards(run: RunFiles, names: Sequence[str]) -> list[Card]:
    """Returns a card with curves by split for each metric."""
    splits, last_step = run.splits, run.step
    cards = []
    for name in names:
        series = run_files.points(run.metrics, name)
        # One point makes no curve, and the table shows its value.
        if sum(map(len, series.values())) < 2:
            continue
        legend = [
            (split, charts.colour(split, splits), points[-1][1])
            for split, points in series.items()
        ]
        chart = charts.curves(f"{name} by step", series, splits, last_step)
        cards.append(Card(name, _UNITS.get(name, ""), legend, chart))
    return cards
