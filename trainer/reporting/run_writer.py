"""Writes the records of a run: TensorBoard events, metrics.jsonl and PNG grids.

No record appears twice after a resume. A resumed run cuts off everything that was
written after its checkpoint, because it writes these steps again. No record is missing
either. A thread draws and encodes pictures, and a checkpoint waits until all earlier
pictures and logs are on the disk.
"""

import json
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto import summary_pb2

from pipeline.storage import files
from trainer.reporting import events, image_grid, projector, sample_grids, tags
from trainer.runs import metrics_file
from trainer.runs.trained import TrainedRun
from trainer.system.background import Background

# Event directories, which TensorBoard shows as runs.
_TRAIN, _EVAL = "train", "eval"


class RunWriter:
    """Writes a run's scalars, pictures and texts, from a given step on."""

    def __init__(self, directory: pathlib.Path, last_step: int) -> None:
        """Opens the files in `directory`, and cuts them off after `last_step`.

        A `last_step` of -1 removes all earlier records.
        """
        self._directory = directory
        self._metrics_path = directory / metrics_file.NAME
        metrics_file.truncate(self._metrics_path, last_step)
        self._events = {}
        for run in (_TRAIN, _EVAL):
            events.truncate(directory / run, last_step)
            self._events[run] = events.EventFile(directory / run)
        projector.cut(directory / _EVAL, last_step)
        self._background = Background("pictures")

    def write_scalars(
        self, step: int, split: str, scalars: Mapping[str, float], **texts: str
    ) -> None:
        """Writes events under the names of `tags`, and one line of metrics.jsonl.

        Args:
            step: Number of optimizer updates so far.
            split: `train` for training metrics, otherwise the evaluated split.
            scalars: Values by name.
            **texts: Texts by name, for metrics.jsonl only.
        """
        run = _TRAIN if split == "train" else _EVAL
        self._events[run].write_scalars(
            step, {tags.of_scalar(name): value for name, value in scalars.items()}
        )
        with open(self._metrics_path, "a", encoding="utf-8") as file:
            json.dump({"step": step, "split": split, **scalars, **texts}, file)
            file.write("\n")

    def write_grids(self, step: int, named_grids: Mapping[str, np.ndarray]) -> None:
        """Writes `[height, width, c]` uint8 grids as events and under `images/`."""
        for name, grid in named_grids.items():
            path = self.grid_path(name, step)
            image_grid.save_png(path, grid)
            height, width, _ = grid.shape
            png = path.read_bytes()
            tag = tags.of_picture(name)
            self._events[_EVAL].write_image(step, tag, png, height, width)

    def start_pictures(
        self,
        step: int,
        drawers: Mapping[str, Callable[[], np.ndarray]],
        strip: Sequence[str],
    ) -> None:
        """Starts to draw and write grids, the strip, and the curves of the loss.

        Call `wait` before other writes to the same event file.

        Args:
            step: Number of optimizer updates so far.
            drawers: Functions that draw the grids, by the name of the grid.
            strip: Names of the grids in a row of the strip; empty for no strip.
        """
        self._background.start(self._write_pictures, step, drawers, strip)

    def wait(self) -> None:
        """Waits until all pictures are written.

        Raises:
            OSError: If a picture could not be written.
        """
        self._background.wait()

    def sync(self) -> None:
        """Flushes all scalars, texts and pictures to the disk.

        Call it before a checkpoint is saved, because a resumed run does not log
        earlier steps again.

        Raises:
            OSError: If the disk cannot take them.
        """
        if self._metrics_path.exists():
            files.sync(self._metrics_path)
        files.sync_names(self._directory)
        for file in self._events.values():
            file.sync()

    def _write_pictures(
        self,
        step: int,
        drawers: Mapping[str, Callable[[], np.ndarray]],
        strip: Sequence[str],
    ) -> None:
        self.write_grids(step, {name: draw() for name, draw in drawers.items()})
        if strip:
            self._write_strip(strip)
        # A curve needs more than one step.
        if step and self._metrics_path.exists():
            # Imported lazily: Matplotlib is slow to import, and would delay a start.
            from trainer.reporting import plots

            plots.save_curves(self._metrics_path, self._directory / "images/curves.png")

    def _write_strip(self, names: Sequence[str]) -> None:
        """Writes one picture with a row of grids for every step that has them all."""
        steps = sorted(
            path.name for path in (self._directory / "images" / names[0]).glob("*.png")
        )
        folders = [self._directory / "images" / name for name in names]
        pictures = [
            [image_grid.load_png(folder / step) for folder in folders]
            for step in steps
            if all((folder / step).exists() for folder in folders)
        ]
        image_grid.save_png(
            self._directory / "images/strip.png", sample_grids.strip(pictures)
        )

    def grid_path(self, name: str, step: int) -> pathlib.Path:
        """Returns the path of a grid's PNG file."""
        return self._directory / "images" / name / f"{step:09d}.png"

    def write_text(self, step: int, name: str, text: str) -> None:
        """Writes a text, which TensorBoard renders as Markdown."""
        self._events[_TRAIN].write_text(step, name, text)

    def write_histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """Writes a histogram of `[n]` values of an evaluation."""
        self._events[_EVAL].write_histogram(step, tags.of_histogram(name), values)

    def write_latents(self, run: TrainedRun) -> None:
        """Writes the files of the embedding projector; see `projector`."""
        projector.write(self._directory / _EVAL, run)

    def write_summary(self, step: int, summary: summary_pb2.Summary) -> None:
        """Writes a plugin's summary, beside the results of evaluations."""
        self._events[_EVAL].write_summary(step, summary)

    def write_graph(self, graph: tf.Graph) -> None:
        """Writes the graph of the run; a run has only one."""
        self._events[_TRAIN].write_graph(graph)

    def close(self) -> None:
        """Closes the event files after all pictures are written."""
        try:
            self._background.close()
        finally:
            for file in self._events.values():
                file.close()


class NoWriter(RunWriter):
    """A writer that writes nothing, for hosts other than the chief."""

    def __init__(self) -> None:
        """Opens nothing."""

    def write_scalars(
        self, step: int, split: str, scalars: Mapping[str, float], **texts: str
    ) -> None:
        """Writes nothing."""

    def write_grids(self, step: int, named_grids: Mapping[str, np.ndarray]) -> None:
        """Writes nothing."""

    def start_pictures(
        self,
        step: int,
        drawers: Mapping[str, Callable[[], np.ndarray]],
        strip: Sequence[str],
    ) -> None:
        """Writes nothing."""

    def wait(self) -> None:
        """Returns at once: no picture is pending."""

    def sync(self) -> None:
        """Returns at once: nothing was written."""

    def write_text(self, step: int, name: str, text: str) -> None:
        """Writes nothing."""

    def write_histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """Writes nothing."""

    def write_latents(self, run: TrainedRun) -> None:
        """Writes nothing."""

    def write_summary(self, step: int, summary: summary_pb2.Summary) -> None:
        """Writes nothing."""

    def write_graph(self, graph: tf.Graph) -> None:
        """Writes nothing."""

    def close(self) -> None:
        """Returns at once: no file is open."""
