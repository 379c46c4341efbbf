"""Reads single images from the TFRecord files of TensorFlow Datasets."""

import os
from collections.abc import Collection, Mapping, Sequence
from typing import BinaryIO

import numpy as np

from pipeline import contract
from pipeline.formats import records
from pipeline.images import rgb, squares
from pipeline.sources.listing import file_states
from pipeline.sources.listing.read_ahead import Part, ReadAhead
from pipeline.sources.tfds import tfds_shards
from pipeline.storage import paths


class RecordReader:
    """Reads an image by (number of the shard, offset, size, checksum) of its record."""

    def __init__(
        self,
        shards: Mapping[str, file_states.State],
        damaged: Collection[str],
        image: str,
        num_channels: int,
    ) -> None:
        """Opens nothing yet.

        Args:
            shards: State of each shard when it was listed, by path.
            damaged: Keys of the records that were damaged when they were listed.
            image: Name of the image feature in a record.
            num_channels: Channels of every image, 1 or 3.
        """
        self._paths = tuple(shards)
        self._states = tuple(shards.values())
        self._damaged = frozenset(damaged)
        self._image = image
        self._num_channels = num_channels
        self._ahead = ReadAhead()

    def prefetch(self, keys: Sequence[str], locations: np.ndarray) -> None:
        """Starts to read the records ahead; see `Reader.prefetch`."""
        if paths.is_url(self._paths[0]):
            self._ahead.announce(
                Part(self._paths[number], size, offset)
                for number, offset, size, _ in locations.tolist()
            )
            return
        # Some systems have no `posix_fadvise`.
        if not hasattr(os, "posix_fadvise"):
            return
        for number in np.unique(locations[:, 0]).tolist():
            with self._open(number) as file:
                for _, offset, size, _ in locations[locations[:, 0] == number].tolist():
                    os.posix_fadvise(
                        file.fileno(), offset, size, os.POSIX_FADV_WILLNEED
                    )

    def read(self, key: str, location: np.ndarray) -> np.ndarray:
        """Returns `[height, width, channels]` uint8; see `Reader.read`."""
        number, offset, size, checksum = location.tolist()
        path = self._paths[number]
        try:
            framed = self._read_range(number, offset, size)
        except OSError as error:
            raise file_states.unreadable(path, error) from error
        record = records.unframed(framed)
        if records.checksum(record) != checksum:
            # If the shard was cut or replaced, fail instead of rejecting its records.
            file_states.check_same(path, self._states[number], file_states.find(path))
            detail = f"CRC-32C {records.checksum(record):08x}, not {checksum:08x}"
            raise squares.RejectedImageError("checksum", detail)
        if key in self._damaged:
            raise contract.DatasetError(
                f"{key} in {path} was damaged when it was listed, but is sound now: "
                "make the same call again"
            )
        encoded = tfds_shards.parse_example(record)[self._image].bytes_list.value
        if len(encoded) != 1:
            detail = f"{len(encoded)} images named {self._image} in its record"
            raise squares.RejectedImageError("missing", detail)
        if self._num_channels == 1:
            return rgb.decode_as_grey(encoded[0])
        return rgb.decode_as_rgb(encoded[0])

    def _read_range(self, number: int, start: int, num_bytes: int) -> bytes:
        if paths.is_url(self._paths[number]):
            return self._ahead.read(Part(self._paths[number], num_bytes, start))
        with self._open(number) as file:
            return os.pread(file.fileno(), num_bytes, start)

    def _open(self, number: int) -> BinaryIO:
        # A plan takes images from all shards, which are too many to keep open.
        try:
            return paths.open_file(self._paths[number])
        except OSError as error:
            raise file_states.unreadable(self._paths[number], error) from error
