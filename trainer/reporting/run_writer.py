"""What a run writes down: TensorBoard events, metrics.jsonl and PNG grids.

Nothing overlaps after a resume: what a killed run wrote past its checkpoint is cut
off, since the resumed run writes it again. And nothing is missing: pictures are drawn
and encoded in a thread, and a checkpoint waits until those before it, and all that was
logged, are on the disk.
"""

import json
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto import summary_pb2

from pipeline.storage import files
from trainer.reporting import events, image_grid, projector, sample_grids
from trainer.runs import metrics_file
from trainer.runs.trained import TrainedRun
from trainer.system.background import Background

# Event directories, as TensorBoard names the runs.
_TRAIN, _EVAL = "train", "eval"


class RunWriter:
    """Writes a run's scalars, pictures and texts, from a given step on."""

    def __init__(self, directory: pathlib.Path, last_step: int) -> None:
        """Opens the files in `directory`, cut off after `last_step` (-1: all)."""
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
        """Writes events, and one line of metrics.jsonl that has `texts` as well.

        Args:
            step: Updates made.
            split: `train` for what training sees, else the split that was evaluated.
            scalars: By name.
            **texts: For metrics.jsonl alone.
        """
        run = _TRAIN if split == "train" else _EVAL
        self._events[run].write_scalars(step, scalars)
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
            self._events[_EVAL].write_image(step, name, png, height, width)

    def start_pictures(
        self,
        step: int,
        drawers: Mapping[str, Callable[[], np.ndarray]],
        strip: Sequence[str],
    ) -> None:
        """Begins to draw and write grids, the strip, and the curves of the loss.

        What else goes to the same event file has to wait for them; see `wait`.

        Args:
            step: Updates made.
            drawers: What draws each grid of `write_grids`.
            strip: Names of the grids in a row of the strip, if there is to be one.
        """
        self._background.start(self._write_pictures, step, drawers, strip)

    def wait(self) -> None:
        """Returns once all pictures are written.

        Raises:
            OSError: If one could not be.
        """
        self._background.wait()

    def sync(self) -> None:
        """Puts the scalars, texts and pictures of now on the disk.

        A checkpoint comes after it, since a resumed run logs no step before it again.

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
        # Of one step there is no curve.
        if step and self._metrics_path.exists():
            # For Matplotlib, which takes a while, no start of a run should wait.
            from trainer.reporting import plots

            plots.save_curves(self._metrics_path, self._directory / "images/curves.png")

    def _write_strip(self, names: Sequence[str]) -> None:
        """Writes the grids of all steps that have them in one picture, by row."""
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
        """Returns where the PNG file of a grid is."""
        return self._directory / "images" / name / f"{step:09d}.png"

    def write_text(self, step: int, name: str, text: str) -> None:
        """Writes a text, which TensorBoard shows as Markdown."""
        self._events[_TRAIN].write_text(step, name, text)

    def write_histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """Writes how many of `[n]` values of an evaluation are how large."""
        self._events[_EVAL].write_histogram(step, name, values)

    def write_latents(self, run: TrainedRun) -> None:
        """Writes the files of the embedding projector; see `projector`."""
        projector.write(self._directory / _EVAL, run)

    def write_summary(self, step: int, summary: summary_pb2.Summary) -> None:
        """Writes a summary of a plugin, beside what evaluations found."""
        self._events[_EVAL].write_summary(step, summary)

    def write_graph(self, graph: tf.Graph) -> None:
        """Writes a graph, of which a run has one."""
        self._events[_TRAIN].write_graph(graph)

    def close(self) -> None:
        """Closes the event files, once all pictures are in."""
        try:
            self._background.close()
        finally:
            for file in self._events.values():
                file.close()


class NoWriter(RunWriter):
    """What a host writes that is not the chief: nothing."""

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
        """Has nothing to wait for."""

    def sync(self) -> None:
        """Has nothing to put on the disk."""

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
        """Has nothing to close."""
