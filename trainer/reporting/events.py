"""TensorBoard event files: one per start of a run, named in the order of the starts.

TensorBoard reads the files of a directory in the order of their names, which begin with
a time. It discards earlier events once a lower step follows. So a new file gets a later
time than every file beside it, even if the clock was set back.
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
from trainer.reporting import tags
from trainer.reporting.tags import Tag
from trainer.system import atomic_files

_NAME = re.compile(r"events\.out\.tfevents\.(\d+)\..*")
_PATTERN = "events.out.tfevents.*"
_NAMED_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


class EventFile:
    """A new event file.

    Every write reaches the operating system before the call returns, and the disk at
    the next `sync`.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        """Creates the file, and its directory if it is missing.

        Raises:
            OSError: If the file cannot be written.
        """
        files.make_directory(directory)
        matches = (_NAME.fullmatch(path.name) for path in directory.glob(_PATTERN))
        later = [int(match[1]) + 1 for match in matches if match]
        stem = f"events.out.tfevents.{max([int(time.time()), *later]):010d}"
        self._path = directory / f"{stem}.{socket.gethostname()}.{os.getpid()}.v2"
        with _errors_of_the_system(self._path):
            self._writer = tf.io.TFRecordWriter(str(self._path))
        self._write(event_pb2.Event(file_version="brain.Event:2"))

    def write_scalars(self, step: int, scalars: Mapping[Tag, float]) -> None:
        """Writes scalars by tag.

        Raises:
            OSError: If the file cannot be written; the other methods raise it as well.
        """
        for tag, value in scalars.items():
            summary = scalar_summary.scalar_pb(tag.name, value, tag.description)
            self._write_summary(step, summary)
        self._flush()

    def write_histogram(self, step: int, tag: Tag, values: np.ndarray) -> None:
        """Writes a histogram of `[n]` values."""
        summary = histogram_summary.histogram_pb(
            tag.name, values, description=tag.description
        )
        self.write_summary(step, summary)

    def write_image(
        self, step: int, tag: Tag, png: bytes, height: int, width: int
    ) -> None:
        """Writes a picture: the content of a PNG file, and its size in pixels."""
        summary = summary_pb2.Summary()
        summary.value.add(
            tag=tag.name,
            metadata=image_metadata.create_summary_metadata(
                display_name=None, description=tag.description
            ),
            tensor=tensor_util.make_tensor_proto(
                [str(width).encode(), str(height).encode(), png]
            ),
        )
        self.write_summary(step, summary)

    def write_text(self, step: int, name: str, text: str) -> None:
        """Writes a text, which TensorBoard renders as Markdown."""
        self.write_summary(step, text_summary.text_pb(name, text))

    def write_summary(self, step: int, summary: summary_pb2.Summary) -> None:
        """Writes a summary in the format of a TensorBoard plugin."""
        self._write_summary(step, summary)
        self._flush()

    def write_graph(self, graph: tf.Graph) -> None:
        """Writes the graph of the run; a run has only one."""
        self._write(event_pb2.Event(graph_def=graph.as_graph_def().SerializeToString()))
        self._flush()

    def sync(self) -> None:
        """Flushes the written events to the disk.

        Raises:
            OSError: If the disk cannot take them.
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
    """Removes events of later steps than `last_step`, and incomplete events.

    A file without a remaining summary is removed. Series of an earlier version get
    today's tags; otherwise the curves of a resumed run would be cut in two.

    Raises:
        OSError: If a file cannot be written; the file is then unchanged.
    """
    # TensorBoard would also read the temporary files that a killed run left here.
    for leftover in directory.glob(f".{_PATTERN}"):
        leftover.unlink()
    for path in directory.glob(_PATTERN):
        _truncate(path, last_step)
    # Without this, a loss of power could bring removed events back beside new ones.
    if directory.exists():
        files.sync_names(directory)


def _truncate(path: pathlib.Path, last_step: int) -> None:
    records, is_changed, has_steps = [], False, False
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = event_pb2.Event.FromString(record)
            if event.step > last_step:
                is_changed = True
                continue
            if _rename(event):
                record, is_changed = event.SerializeToString(), True
            records.append(record)
            has_steps |= event.HasField("summary")
    except (tf.errors.DataLossError, DecodeError):
        is_changed = True
    if not has_steps:
        path.unlink()
    elif is_changed:
        with _errors_of_the_system(path), atomic_files.replacing(path) as temporary:
            with tf.io.TFRecordWriter(str(temporary)) as writer:
                for record in records:
                    writer.write(record)


def _rename(event: event_pb2.Event) -> bool:
    """Gives the series of an event today's tags; returns whether a tag changed."""
    is_changed = False
    for value in event.summary.value:
        tag = tags.of_earlier(value.tag)
        if tag != value.tag:
            value.tag, is_changed = tag, True
    return is_changed


@contextlib.contextmanager
def _errors_of_the_system(path: pathlib.Path) -> Iterator[None]:
    """Raises TensorFlow's file errors as the matching `OSError`."""
    try:
        yield
    except tf.errors.OpError as error:
        # Match by text, because TensorFlow uses one code for several errors.
        numbers = (n for n in _NAMED_ERRORS if os.strerror(n) in error.message)
        number = next(numbers, errno.EIO)
        raise OSError(number, os.strerror(number), str(path)) from error
