"""Plots as images: scatters of latents, labelled rows, and curves of a run."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import font_manager, style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from trainer.reporting import image_grid
from trainer.runs import metrics_file
from trainer.system import atomic_files

_INCHES, _DPI = 5.0, 80
# Least side of a labelled image and height of its text, in pixels.
_LABELLED_SIDE, _FONT_SIZE = 48, 13
# Colours for at most ten classes; more classes are coloured along a scale.
_CLASS_COLOURS = "tab10"


# Matplotlib prefers a matplotlibrc in the working directory to the file that
# `pipeline.process.variables` names, so every drawing function resets the style.
_default_style = style.context("default")


def project(latents: np.ndarray) -> np.ndarray:
    """Returns latents in the plane, `[n, 2]`.

    Two dimensions stay as they are. One dimension is shown against 0. More dimensions
    are projected on their first two principal components.

    Args:
        latents: `[n, latent_dim]`.
    """
    num_examples, latent_dim = latents.shape
    if latent_dim == 2:
        return latents
    if latent_dim == 1:
        return np.concatenate([latents, np.zeros([num_examples, 1])], axis=1)
    centred = latents - latents.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    plane = centred @ axes[:2].T
    # The sign of a principal component is arbitrary: make its largest weight positive.
    signs = np.sign(axes[np.arange(2), np.abs(axes[:2]).argmax(axis=1)])
    return plane * signs


@_default_style
def latent_scatter(latents: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
    """Returns a scatter plot of latents, coloured by label.

    Args:
        latents: `[n, latent_dim]`, posterior means; see `project`.
        labels: `[n]` integers, or None for a single colour.

    Returns:
        `[height, width, 3]` uint8.
    """
    figure = Figure(figsize=(_INCHES, _INCHES), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    x, y = project(latents).T
    if labels is None:
        axes.scatter(x, y, s=3, linewidths=0)
    else:
        classes = np.unique(labels)
        colours = _CLASS_COLOURS if len(classes) <= 10 else "viridis"
        points = axes.scatter(x, y, s=3, linewidths=0, c=labels, cmap=colours)
        if len(classes) <= 10:
            axes.legend(*points.legend_elements(), fontsize="small", markerscale=0.8)
    is_projected = latents.shape[1] > 2
    axes.set_xlabel("first principal component" if is_projected else "latent 0")
    axes.set_ylabel("second principal component" if is_projected else "latent 1")
    axes.set_aspect("equal", adjustable="datalim")
    return _pixels(figure)


@_default_style
def label_strips(
    strips: np.ndarray, row_labels: Sequence[str], column_labels: Sequence[str]
) -> np.ndarray:
    """Returns rows of images, with labels at the left and above.

    Small images are enlarged by an integer factor to make room for the column labels.
    Many large images shrink, see `image_grid.shrunk`.

    Args:
        strips: `[rows, columns, h, w, 1 or 3]` in [-1, 1].
        row_labels: Label of each row, in one or several lines.
        column_labels: Label of each column, in one line.

    Returns:
        `[height, width, 3]` uint8, dark text on white.
    """
    num_rows, num_columns, height, width, _ = strips.shape
    levels = image_grid.to_levels(strips.reshape(-1, *strips.shape[2:]))
    if width > _LABELLED_SIDE:
        levels = image_grid.shrunk(levels)
        height, width = levels.shape[1:3]
    factor = -(-_LABELLED_SIDE // width)
    cells = levels.repeat(factor, axis=1).repeat(factor, axis=2)
    tiled = image_grid.tile_levels(cells, num_columns)
    height, width = height * factor, width * factor
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), _FONT_SIZE)
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    sizes = [draw.multiline_textbbox((0, 0), text, font)[2:] for text in row_labels]
    left = math.ceil(max(wide for wide, _ in sizes)) + 2 * _FONT_SIZE
    top = 2 * _FONT_SIZE
    size = (left + num_columns * width, top + num_rows * height)
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for row, text in enumerate(row_labels):
        place = (left - _FONT_SIZE, top + (row + 0.5) * height)
        draw.multiline_text(place, text, "black", font, "rm", align="right")
    for column, text in enumerate(column_labels):
        place = (left + (column + 0.5) * width, top / 2)
        draw.text(place, text, "black", font, "mm")
    pixels = np.array(picture)
    pixels[top:, left:] = tiled
    return pixels


@_default_style
def plot_metrics(lines: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Figure:
    """Returns curves of metrics by step, one plot below the other.

    Args:
        lines: Lines of metrics.jsonl.
        names: Names of the metrics; metrics that no line has are left out.
    """
    plotted = [name for name in names if any(name in line for line in lines)]
    figure = Figure(figsize=(8, 2.5 * max(len(plotted), 1)), dpi=_DPI)
    figure.set_layout_engine("constrained")
    all_axes = figure.subplots(max(len(plotted), 1), squeeze=False)[:, 0]
    for axes, name in zip(all_axes, plotted, strict=False):
        for split in dict.fromkeys(line["split"] for line in lines):
            points = [
                (line["step"], line[name])
                for line in lines
                if line["split"] == split and name in line
            ]
            if points:
                axes.plot(*zip(*points, strict=True), label=split)
        axes.set_ylabel(name)
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    all_axes[-1].set_xlabel("step")
    return figure


@_default_style
def save_curves(metrics_path: pathlib.Path, path: pathlib.Path) -> None:
    """Plots the loss and its terms from a metrics.jsonl file as a PNG file."""
    lines, _ = metrics_file.read(metrics_path)
    figure = plot_metrics(lines, ("loss", "elbo", "recon_nll", "kl"))
    with atomic_files.replacing(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))


def _pixels(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
