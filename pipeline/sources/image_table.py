"""Tables of images that are not read yet, with any number of rows.

A row takes about a hundred bytes. Rows beyond the first few hundred thousand lie in a
temporary file in TMPDIR. The file has no name and disappears with the process.
"""

import dataclasses
import os
import pickle
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np

from pipeline import contract

# Rows in memory at a time: all rows of CelebA fit.
MAX_IN_MEMORY = 1 << 18
# Bits of a hash that decide the partition: 10^9 rows make partitions of a million.
_PARTITION_BITS = 10


@dataclasses.dataclass(frozen=True)
class ImageTable:
    """Some images of a source, one per row.

    Attributes:
        keys: Keys of the images.
        locations: `[num_images, k]` int64, the numbers that the reader needs. They
            include a checksum or a time that shows whether an image has changed.
        features: Integers `[num_images, ...]` by feature name.
    """

    keys: Sequence[str]
    locations: np.ndarray
    features: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.keys)

    def take(self, places: np.ndarray) -> "ImageTable":
        """Returns the rows at `places`, in that order."""
        chosen: list[int] = places.tolist()
        return ImageTable(
            keys=[self.keys[place] for place in chosen],
            locations=self.locations[places],
            features={name: array[places] for name, array in self.features.items()},
        )

    def part(self, start: int, stop: int) -> "ImageTable":
        """Returns the rows from `start` up to and excluding `stop`."""
        return ImageTable(
            keys=self.keys[start:stop],
            locations=self.locations[start:stop],
            features={name: array[start:stop] for name, array in self.features.items()},
        )


def concatenate(parts: Sequence[ImageTable]) -> ImageTable:
    """Returns the rows of one or more parts as a single table."""
    first, *rest = parts
    if not rest:
        return first
    return ImageTable(
        keys=[key for part in parts for key in part.keys],
        locations=np.concatenate([part.locations for part in parts]),
        features={
            name: np.concatenate([part.features[name] for part in parts])
            for name in first.features
        },
    )


def in_blocks(
    images: Iterable[tuple[str, Sequence[int]]], num_rows: int = 1 << 16
) -> Iterator[ImageTable]:
    """Yields keys and locations as tables of at most `num_rows` rows."""
    keys: list[str] = []
    locations: list[Sequence[int]] = []
    for key, location in images:
        keys.append(key)
        locations.append(location)
        if len(keys) == num_rows:
            yield ImageTable(keys, np.array(locations, np.int64))
            keys, locations = [], []
    if keys:
        yield ImageTable(keys, np.array(locations, np.int64))


class Spool:
    """Rows that can be read repeatedly, in the order of their addition."""

    def __init__(self, max_in_memory: int = MAX_IN_MEMORY) -> None:
        """Holds no rows yet."""
        self._blocks: list[ImageTable] = []
        self._num_free = max_in_memory
        self._file = _ChunkFile()
        self._offsets: list[int] = []

    def add(self, images: ImageTable) -> None:
        """Adds rows to the end."""
        self._num_free -= len(images)
        if self._num_free >= 0:
            self._blocks.append(images)
        else:
            self._offsets.append(self._file.append(images))

    def __iter__(self) -> Iterator[ImageTable]:
        """Yields all rows, block by block."""
        yield from self._blocks
        yield from map(self._file.read, self._offsets)


class Partitions:
    """Rows that can be read repeatedly, in the order of their hashes.

    The highest bits of a hash decide the partition of its row, so equal hashes share a
    partition. Reading sorts one partition at a time and holds only this one in memory.
    """

    def __init__(self, max_in_memory: int = MAX_IN_MEMORY) -> None:
        """Holds no rows yet."""
        self._max_in_memory = max_in_memory
        self._pending: list[tuple[np.ndarray, ImageTable]] = []
        self._num_pending = 0
        self._file = _ChunkFile()
        # For each partition, the offsets of its chunks in the file.
        self._offsets: list[list[int]] = [[] for _ in range(1 << _PARTITION_BITS)]
        self.num_rows = 0

    def add(self, hashes: np.ndarray, images: ImageTable) -> None:
        """Adds rows with their hashes, `[len(images)]` uint64."""
        self._pending.append((hashes, images))
        self._num_pending += len(images)
        self.num_rows += len(images)
        if self._num_pending > self._max_in_memory:
            self._spill()

    def __iter__(self) -> Iterator[tuple[np.ndarray, ImageTable]]:
        """Yields all rows with their hashes, sorted by hash and key."""
        if not any(self._offsets):
            if self._pending:
                yield _in_order(self._pending)
            return
        self._spill()
        for offsets in self._offsets:
            if offsets:
                yield _in_order([self._file.read(offset) for offset in offsets])

    def _spill(self) -> None:
        if not self._pending:
            return
        hashes, images = _in_order(self._pending)
        self._pending, self._num_pending = [], 0
        firsts = np.arange(1, len(self._offsets), dtype=np.uint64)
        stops = np.searchsorted(hashes, firsts << np.uint64(64 - _PARTITION_BITS))
        stops = stops.tolist()
        for offsets, start, stop in zip(
            self._offsets, [0, *stops], [*stops, len(images)], strict=True
        ):
            if start < stop:
                chunk = hashes[start:stop], images.part(start, stop)
                offsets.append(self._file.append(chunk))


class _ChunkFile:
    """Pickled objects in a temporary file that no other process can open.

    The file has no name. Unpickling is therefore safe: only this process wrote to it.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None

    def append(self, chunk: Any) -> int:
        if self._file is None:
            self._file = tempfile.TemporaryFile()
        try:
            offset = self._file.seek(0, os.SEEK_END)
            pickle.dump(chunk, self._file, pickle.HIGHEST_PROTOCOL)
            self._file.flush()
        except OSError as error:
            raise contract.DatasetError(
                f"cannot write the list of images to {tempfile.gettempdir()}: "
                f"{error.strerror}: free some space there, or set TMPDIR to a larger "
                "disk"
            ) from error
        return offset

    def read(self, offset: int) -> Any:
        assert self._file is not None
        self._file.seek(offset)
        return pickle.load(self._file)


def _in_order(
    chunks: Sequence[tuple[np.ndarray, ImageTable]],
) -> tuple[np.ndarray, ImageTable]:
    """Returns the rows of all chunks with their hashes, sorted by hash and key."""
    hashes = np.concatenate([its_hashes for its_hashes, _ in chunks])
    images = concatenate([its_rows for _, its_rows in chunks])
    order = np.argsort(hashes)
    if (hashes[order[1:]] == hashes[order[:-1]]).any():
        # The key itself decides between equal hashes.
        order = np.lexsort([np.array(images.keys, object), hashes])
    return hashes[order], images.take(order)
