"""A run as one HTML page that needs nothing beside it."""

import base64
import pathlib
import statistics
from collections.abc import Sequence

from pipeline.storage import files
from trainer.reporting.html import charts, run_files, style, tables, texts
from trainer.reporting.html.run_files import Picture, RunFiles
from trainer.reporting.html.texts import escape, number
from trainer.system import atomic_files

# In the order of the page; what else a run has comes after these.
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
    "data_wait_percent": "of the time of training",
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
        "Equal steps from one draw of the prior to another.",
    ),
    "latents/traversed": (
        "Traversals",
        "In each row one latent of an image goes from −3 to 3; those of the largest KL "
        "divergence first.",
    ),
    "samples/neighbours": (
        "Nearest training images",
        "Samples, each followed by the training image that is nearest to it.",
    ),
    "latents/scatter": (
        "Latents",
        "Posterior means of the evaluated split, in the plane.",
    ),
    "dataset/overview": ("Dataset", "Some of its images."),
}
# Wider grids are shown smaller than they are, or hardly larger.
_MAX_PIXELATED_WIDTH = 400
# In the row of samples over time.
_NUM_SAMPLES = 6
_FOOTER = "Made from the files of the run by python -m trainer.report"
# Of metrics.jsonl, for the speed.
_NUM_RECENT_LINES = 20


def check_output(output: pathlib.Path) -> None:
    """Checks that a file is new, or an earlier page, which is replaced.

    Raises:
        ValueError: If it is something else.
        OSError: If that cannot be found out.
    """
    if output.exists() and _FOOTER.encode() not in output.read_bytes():
        raise ValueError(
            f"--output={output} is there, and trainer.report did not write it: give "
            "another name"
        )


def write(directory: pathlib.Path, output: pathlib.Path) -> None:
    """Writes the page of a run.

    Args:
        directory: The workdir; a trainer may be at work in it.
        output: File, whole or not at all; its directory is made.

    Raises:
        ValueError: If it is no workdir, or its config.json or dataset.json is damaged;
            or if the page cannot be written.
        OSError: If a file cannot be read.
    """
    text = render(run_files.read(directory, _NUM_SAMPLES))
    try:
        files.make_directory(output.parent)
        # Names in JSON may hold halves of characters.
        atomic_files.write(output, text.encode("utf-8", "replace"))
    except OSError as error:
        raise ValueError(
            f"--output={output} cannot be written ({error.strerror}): choose another"
        ) from error


def render(run: RunFiles) -> str:
    """Returns the page.

    Args:
        run: Any of its parts may be missing.
    """
    names = run.metric_names
    others = [name for name in names if name not in (*_CURVES, *_COURSE)]
    curves = [name for name in (*_CURVES, *sorted(others)) if name in names]
    course = [name for name in _COURSE if name in names]
    body = [
        _header(run),
        _tiles(run),
        _notes(run),
        tables.section("Pictures", _gallery(run)),
        tables.section("Samples over time", _film(run)),
        tables.section("Curves", _charts(run, curves)),
        tables.section("Course of the training", _charts(run, course)),
        tables.section("Metrics", tables.metrics(run, [*curves, *course])),
        tables.section("Scores of whole splits", tables.scores(run)),
        tables.section("Dataset", tables.dataset(run)),
        tables.section("Provenance", tables.provenance(run)),
        tables.section("Settings", tables.config(run)),
    ]
    title = f"{escape(run.name)} on {escape(run.dataset_name)}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{style.CSS}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + f"\n<footer>{_FOOTER}</footer>\n</body>\n</html>\n"
    )


def _header(run: RunFiles) -> str:
    settings = run.dataset.get("settings")
    told = [f"dataset <strong>{escape(run.dataset_name)}</strong>"]
    if isinstance(settings, dict) and "image_size" in settings:
        told.append(f"{escape(settings['image_size'])} px")
    told.append(
        f'digest <span class="mono">{escape(run.dataset["digest"][:12])}</span>'
    )
    if run.written_at is not None:
        told.append(f"as of {texts.moment(run.written_at)}")
    return (
        f'<header>\n<h1>{escape(run.name)}</h1>\n<p class="muted">'
        f"{' · '.join(told)}</p>\n{_progress(run)}</header>"
    )


def _progress(run: RunFiles) -> str:
    target = run.config.get("num_train_steps")
    if not run_files.is_number(target) or target <= 0:
        return ""
    percent = min(100.0, 100 * run.step / target)
    return (
        f'<div class="progress" role="img" aria-label="{percent:.0f}% of the steps">'
        f'<div style="width: {percent:.1f}%"></div></div>\n'
    )


def _tiles(run: RunFiles) -> str:
    """Returns the run in a few numbers."""
    target = run.config.get("num_train_steps")
    has_target = run_files.is_number(target) and target > 0
    tiles = [
        ("steps", number(run.step), f"of {number(target)}" if has_target else "so far")
    ]
    batch_size = run.config.get("global_batch_size")
    if run_files.is_number(batch_size):
        tiles.append(
            ("images seen", number(run.step * batch_size), f"{batch_size} in a step")
        )
    for title, line in (
        ("last ELBO", run.last_evaluation),
        ("best ELBO", run.best_evaluation),
    ):
        if line:
            where = f"{line['split']}, step {number(line['step'])}"
            tiles.append((title, number(line["elbo"]), where))
    if run.busy_secs is not None:
        tiles.append(("time at work", texts.duration(run.busy_secs), "pauses left out"))
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
    cards = "\n".join(
        f'<div class="card"><small>{escape(title)}</small>'
        f'<div class="value">{escape(value)}</div><small>{escape(note)}</small></div>'
        for title, value, note in tiles
    )
    return f'<div class="tiles">\n{cards}\n</div>'


def _notes(run: RunFiles) -> str:
    """Returns what is missing or damaged."""
    notes = []
    if run.num_damaged_lines:
        lines = "line" if run.num_damaged_lines == 1 else "lines"
        notes.append(
            f"{run.num_damaged_lines} damaged {lines} of metrics.jsonl left out."
        )
    if run.damaged_pictures:
        names = ", ".join(run.damaged_pictures)
        notes.append(f"Damaged pictures left out: {names}.")
    if not run.metrics:
        notes.append("The run has not written a metric yet.")
    elif run.last_evaluation is None:
        notes.append("The run has not been evaluated yet: metrics are of training.")
    if not run.pictures:
        notes.append("The run has not drawn a picture yet.")
    return "\n".join(f'<p class="note">{escape(note)}</p>' for note in notes)


def _gallery(run: RunFiles) -> str:
    """Returns the newest grid of each kind."""
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
        step = "" if picture.name == "dataset/overview" else _step_text(picture)
        figures.append(
            f'<figure style="--aspect: {picture.width / picture.height:.3f}">'
            f"{_image(picture, title)}<figcaption><h3>{escape(title)}"
            f"<small>{step}</small></h3><p>{escape(text)}</p></figcaption></figure>"
        )
    if not figures:
        return ""
    return '<div class="gallery">\n' + "\n".join(figures) + "\n</div>"


def _film(run: RunFiles) -> str:
    """Returns the same samples at some steps."""
    if len(run.samples) < 2:
        return ""
    figures = "\n".join(
        f"<figure>{_image(picture, 'Samples')}"
        f"<figcaption>{_step_text(picture)}</figcaption></figure>"
        for picture in run.samples
    )
    return f'<div class="film">\n{figures}\n</div>'


def _step_text(picture: Picture) -> str:
    return f"step {number(picture.step)}"


def _image(picture: Picture, title: str) -> str:
    data = base64.b64encode(picture.data).decode()
    is_pixelated = (
        picture.width <= _MAX_PIXELATED_WIDTH and picture.name != "latents/scatter"
    )
    return (
        f'<img src="data:{picture.media_type};base64,{data}" '
        f'alt="{escape(title)} at {_step_text(picture)}" width="{picture.width}" '
        f'height="{picture.height}"{" class=pixels" if is_pixelated else ""}>'
    )


def _charts(run: RunFiles, names: Sequence[str]) -> str:
    """Returns a card with curves for each metric, by split."""
    cards = []
    for name in names:
        series = run_files.points(run.metrics, name)
        # One point is no curve; the table has it.
        if sum(map(len, series.values())) < 2:
            continue
        legend = "".join(
            f'<span class="last"><span class="dot split-{run.splits.index(split) % 4}">'
            f"</span>{escape(split)} {number(points[-1][1])}</span>"
            for split, points in series.items()
        )
        unit = f"<small>{escape(_UNITS.get(name, ''))}</small>"
        drawn = charts.curves(f"{name} by step", series, run.splits, run.step)
        cards.append(
            f'<div class="card"><header><h3>{escape(name)}</h3>{unit}</header>'
            f"<p>{legend}</p>{drawn}</div>"
        )
    if not cards:
        return ""
    return '<div class="charts">\n' + "\n".join(cards) + "\n</div>"
