"""Texts and pictures that describe a run in TensorBoard, beside its scalars."""

import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from pipeline import contract
from trainer.analysis import nearest_images
from trainer.analysis.latents.neighbours import memorisation_ratio
from trainer.optimization.objectives import Objective
from trainer.reporting import hparams, image_grid, sample_grids
from trainer.reporting.html import texts
from trainer.reporting.run_writer import RunWriter
from trainer.runs import flagship, settings
from trainer.runs.trained import TrainedRun

_MIB = 2**20
# Names of a feature in the card of a dataset.
_MAX_NAMES = 10


def write_start(writer: RunWriter, run: TrainedRun, objective: Objective) -> None:
    """Writes the description of a run: settings, dataset, loss and graph.

    Args:
        writer: Writer of the run.
        run: Run before its first step.
        objective: Objective that training minimises.
    """
    manifest = run.manifest
    writer.write_text(0, "config", settings_table(run.config))
    writer.write_text(0, "objective", objective.describe())
    writer.write_text(0, "dataset", dataset_card(manifest))
    dataset = f"{manifest.name} {manifest.digest[:8]}"
    writer.write_summary(0, hparams.summarise(run.config, dataset))
    writer.write_graph(model_graph(run))
    overview = pathlib.Path(run.dataset_dir) / contract.OVERVIEW_NAME
    if overview.exists():
        writer.write_grids(0, {"dataset/overview": image_grid.load_png(overview)})


def settings_table(config: ConfigDict) -> str:
    """Returns the settings as Markdown tables, first those unlike the flagship's.

    Args:
        config: Resolved settings.
    """
    values = json.loads(config.to_json())
    changed = flagship.changes(values)
    others = {
        name: [value]
        for name, value in settings.flatten(values).items()
        if name not in changed
    }
    head = ["changed setting", "value", f"in `{flagship.NAME}`"]
    tables = [_table(head, changed), _table(["other setting", "value"], others)]
    return "\n\n".join(filter(None, tables))


def _table(head: Sequence[str], rows: Mapping[str, Sequence[Any]]) -> str:
    """Returns a Markdown table; empty without rows."""
    cells = [
        [name, *(_cell(texts.setting(value)) for value in values)]
        for name, values in rows.items()
    ]
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else ""


def dataset_card(manifest: contract.Manifest) -> str:
    """Returns a description of a dataset as a Markdown table."""
    height, width, channels = manifest.image_shape
    rows = {
        "name": manifest.name,
        "images": f"{height} x {width} x {channels}, stored as {manifest.image_dtype}",
        **{
            f"split {name}": f"{split.num_examples} examples"
            + "".join(f", {num} {why}" for why, num in split.rejected.items())
            for name, split in manifest.splits.items()
        },
        **{
            f"feature {name}": _names(feature.names)
            or f"{feature.dtype} {list(feature.shape) or ''}"
            for name, feature in manifest.features.items()
            if name != "image"
        },
        **{f"--{name}": value for name, value in manifest.settings.items()},
        "digest": manifest.digest,
    }
    lines = [f"| {name} | {_cell(value)} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def model_graph(run: TrainedRun) -> tf.Graph:
    """Returns the graph that encodes and decodes an image.

    Conditions are an input only if the model reads them.
    """
    num = run.vae.num_conditions

    @tf.function(autograph=False)
    def reconstruct(image: tf.Tensor, *conditions: tf.Tensor) -> tf.Tensor:
        # The model ignores an array of no conditions, so the graph has no node for it.
        (given,) = conditions or (np.zeros([1, 0], np.float32),)
        mean, _ = run.vae.encode(image, given)
        return run.vae.mean_image(mean, given)

    specs = [tf.TensorSpec([None, *run.manifest.image_shape], name="image")]
    if num:
        specs.append(tf.TensorSpec([None, num], name="conditions"))
    return reconstruct.get_concrete_function(*specs).graph


def draw_neighbours(
    run: TrainedRun, shown: sample_grids.Shown
) -> tuple[np.ndarray, float | None]:
    """Returns samples beside their nearest training images, and the memorisation ratio.

    The function reads the whole training split.

    Args:
        run: Run that draws the same samples as in `sample_grids.compute_grids`.
        shown: Examples in the run's pictures, normally not seen in training.

    Returns:
        `[height, width, channels]` uint8, see `image_grid.compare`; and the
        memorisation ratio, see `neighbours`, or None if training saw all shown images.

    Raises:
        contract.DatasetError: If the split cannot be read.
    """
    samples = sample_grids.draw_samples(
        run.vae, shown.sample_conditions, run.config.seed
    )
    neighbours = nearest_images.in_training(
        run, np.concatenate([samples, shown.images])
    )
    of_samples, of_shown = np.split(neighbours.distances, [len(samples)])
    ratio = None
    if of_shown.any():
        ratio = memorisation_ratio(of_samples, of_shown)
    return image_grid.compare(
        samples, samples, neighbours.images[: len(samples)]
    ), ratio


def memory_mib() -> dict[str, float]:
    """Returns the memory of this process in MiB, by name of the scalar.

    Returns:
        `memory/process_mib`: resident memory now, on Linux. `memory/gpu_peak_mib`: peak
        memory of tensors so far on the GPU that used most, if there is a GPU.
    """
    scalars = {}
    if sys.platform == "linux":
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
        scalars["memory/process_mib"] = pages * os.sysconf("SC_PAGE_SIZE") / _MIB
    peaks = [
        tf.config.experimental.get_memory_info(gpu.name.partition("device:")[2])["peak"]
        for gpu in tf.config.list_logical_devices("GPU")
    ]
    if peaks:
        scalars["memory/gpu_peak_mib"] = max(peaks) / _MIB
    return scalars


def _names(names: Sequence[str]) -> str:
    """Returns some names; a longer text would leave no room for the other column."""
    more = ", …" if len(names) > _MAX_NAMES else ""
    count = f"{len(names)} names: " if more else ""
    return f"{count}{', '.join(names[:_MAX_NAMES])}{more}"


def _cell(value: object) -> str:
    """Returns a value as text that stays in its table cell."""
    return " ".join(str(value).split()).replace("|", "\\|")
