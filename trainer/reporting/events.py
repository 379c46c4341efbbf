"""TensorBoard's event files: one for each start of a run, in the order of the starts.

TensorBoard reads the files of a directory by their names, which begin with a time, and
takes what it read for outdated once a lower step follows. So the time of a new file is
after that of every file beside it, even if the clock was set back.
"""

import contextlib
import errno
import os
import pathlib
import re
import socket
import time
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.histogram import summary_v2 as histogram_summary
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar import summary_v2 as scalar_summary
from tensorboard.plugins.text import summary_v2 as text_summary
from tensorboard.util import tensor_util

from pipeline.storage import files
from trainer.system import atomic_files

_NAME = re.compile(r"events\.out\.tfevents\.(\d+)\..*")
_PATTERN = "events.out.tfevents.*"
_NAMED_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


class EventFile:
    """A new event file; what it is given is with the system when a call returns.

    It is on the disk after `sync`.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        """Creates the file, and the directory if need be.

        Raises:
            OSError: If it cannot be written.
        """
        files.make_directory(directory)
        matches = (_NAME.fullmatch(path.name) for path in directory.glob(_PATTERN))
        later = [int(match[1]) + 1 for match in matches if match]
        stem = f"events.out.tfevents.{max([int(time.time()), *later]):010d}"
        self._path = directory / f"{stem}.{socket.gethostname()}.{os.getpid()}.v2"
        with _errors_of_the_system(self._path):
            self._writer = tf.io.TFRecordWriter(str(self._path))
        self._write(event_pb2.Event(file_version="brain.Event:2"))

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes values by their names.

        Raises:
            OSError: If the file cannot be written; so do the other calls.
        """
        for name, value in scalars.items():
            self._write_summary(step, scalar_summary.scalar_pb(name, value))
        self._flush()

    def write_histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """Writes how many of `[n]` values are how large."""
        self.write_summary(step, histogram_summary.histogram_pb(name, values))

    def write_image(
        self, step: int, name: str, png: bytes, height: int, width: int
    ) -> None:
        """Writes the content of a PNG file, of so many pixels."""
        summary = summary_pb2.Summary()
        summary.value.add(
            tag=name,
            metadata=image_metadata.create_summary_metadata(
                display_name=None, description=None
            ),
            tensor=tensor_util.make_tensor_proto(
                [str(width).encode(), str(height).encode(), png]
            ),
        )
        self.write_summary(step, summary)

    def write_text(self, step: int, name: str, text: str) -> None:
        """Writes a text, which TensorBoard shows as Markdown."""
        self.write_summary(step, text_summary.text_pb(name, text))

    def write_summary(self, step: int, summary: summary_pb2.Summary) -> None:
        """Writes what a plugin of TensorBoard reads."""
        self._write_summary(step, summary)
        self._flush()

    def write_graph(self, graph: tf.Graph) -> None:
        """Writes a graph, of which a run has one."""
        self._write(event_pb2.Event(graph_def=graph.as_graph_def().SerializeToString()))
        self._flush()

    def sync(self) -> None:
        """Puts what was written on the disk.

        Raises:
            OSError: If the disk cannot take it.
        """
        files.sync(self._path)
        files.sync_names(self._path.parent)

    def close(self) -> None:
        """Closes the file."""
        with _errors_of_the_system(self._path):
            self._writer.close()

    def _write_summary(self, step: int, summary: summary_pb2.Summary) -> None:
        self._write(event_pb2.Event(step=step, summary=summary))

    def _write(self, event: event_pb2.Event) -> None:
        event.wall_time = time.time()
        with _errors_of_the_system(self._path):
            self._writer.write(event.SerializeToString())

    def _flush(self) -> None:
        with _errors_of_the_system(self._path):
            self._writer.flush()


def truncate(directory: pathlib.Path, last_step: int) -> None:
    """Removes the events of later steps than `last_step`, and an event cut short.

    A file of which nothing is left is removed.

    Raises:
        OSError: If a file cannot be written; it is then as it was.
    """
    # TensorBoard would read what was left unfinished here, too.
    for leftover in directory.glob(f".{_PATTERN}"):
        leftover.unlink()
    for path in directory.glob(_PATTERN):
        _truncate(path, last_step)
    # After a loss of power, removed events might be back beside those of the new start.
    if directory.exists():
        files.sync_names(directory)


def _truncate(path: pathlib.Path, last_step: int) -> None:
    records, is_cut, has_steps = [], False, False
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = event_pb2.Event.FromString(record)
            if event.step <= last_step:
                records.append(record)
                has_steps |= event.HasField("summary")
            else:
                is_cut = True
    except (tf.errors.DataLossError, DecodeError):
        is_cut = True
    if not has_steps:
        path.unlink()
    elif is_cut:
        with _errors_of_the_system(path), atomic_files.replacing(path) as temporary:
            with tf.io.TFRecordWriter(str(temporary)) as writer:
                for record in records:
                    writer.write(record)


@contextlib.contextmanager
def _errors_of_the_system(path: pathlib.Path) -> Iterator[None]:
    """Gives TensorFlow's errors of a file as those of Python."""
    try:
        yield
    except tf.errors.OpError as error:
        # By its text, since TensorFlow has one code for several errors.
        numbers = (n for n in _NAMED_ERRORS if os.strerror(n) in error.message)
        number = next(numbers, errno.EIO)
        raise OSError(number, os.strerror(number), str(path)) from error
