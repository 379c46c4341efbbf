"""Reads single images from Parquet files.

A row group is decoded as a whole, and may hold a hundred images or a hundred thousand.
The reader therefore reads many announced images together, up to 32 MiB, in the order of
the file instead of the order of the plan.
"""

import collections
import itertools
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline import contract
from pipeline.images.squares import RejectedImageError
from pipeline.sources.celeba import parquet_files
from pipeline.sources.listing import file_states
from pipeline.sources.listing.archives import check_size

# Location that stands for a missing image.
MISSING = (-1, 0, 0, 0, 0)

# Total size of the images that are read together; the last image may exceed it.
_MAX_BYTES = 32 << 20
# Rows to decode at a time.
_BATCH_ROWS = 32

# Numbers of the file, the row group and the row; size and CRC-32 of the image.
_Place = tuple[int, ...]


class ParquetReader:
    """Reads an image by (file, row group, row, size, CRC-32)."""

    def __init__(self, states: Mapping[str, file_states.State], column: str) -> None:
        """Opens nothing yet.

        Args:
            states: State of each file when it was listed, by path. The first number
                of a location is the place of its file in this mapping.
            column: Path of the column of the images' bytes.
        """
        self._paths = list(states)
        self._states = list(states.values())
        self._column = column
        self._announced: collections.deque[_Place] = collections.deque()
        self._read: dict[_Place, bytes] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Returns the state to pickle, without announced and read images."""
        return {**self.__dict__, "_announced": collections.deque(), "_read": {}}

    def prefetch(self, keys: Sequence[str], locations: np.ndarray) -> None:
        """Announces images that `read` will read together; see `Reader.prefetch`."""
        places = map(tuple, locations.tolist())
        self._announced = collections.deque(
            place
            for place in places
            if place[0] >= 0 and place[3] <= contract.MAX_IMAGE_BYTES
        )
        self._read = {}

    def read(self, key: str, location: np.ndarray) -> bytes:
        """Returns the content of a row; see `Reader.read`."""
        place = tuple(location.tolist())
        number, _, _, num_bytes, crc = place
        if number < 0:
            raise RejectedImageError("missing", "its row has no image")
        check_size(num_bytes)
        if place not in self._read:
            self._read_on(place)
        data = self._read.pop(place, b"")
        if len(data) != num_bytes or zlib.crc32(data) != crc:
            self._check_same(number)
            name = os.path.basename(self._paths[number])
            detail = f"not the bytes that {name} had when it was listed"
            raise RejectedImageError("checksum", detail)
        return data

    def _read_on(self, place: _Place) -> None:
        """Reads an image, and the announced images after it up to `_MAX_BYTES`."""
        places, num_bytes = {place}, place[3]
        while self._announced and num_bytes < _MAX_BYTES:
            following = self._announced.popleft()
            places.add(following)
            num_bytes += following[3]
        self._read = {}
        for number, batch in itertools.groupby(sorted(places), lambda each: each[0]):
            try:
                self._read.update(self._read_file(number, list(batch)))
            except contract.DatasetError:
                self._check_same(number)
                raise

    def _read_file(self, number: int, places: Sequence[_Place]) -> dict[_Place, bytes]:
        data_of = {}
        with parquet_files.opened(self._paths[number], is_large=True) as file:
            for group, its_places in itertools.groupby(places, lambda each: each[1]):
                place_of = {place[2]: place for place in its_places}
                for row, data in read_rows(file, group, self._column, place_of):
                    data_of[place_of[row]] = data or b""
        return data_of

    def _check_same(self, number: int) -> None:
        path = self._paths[number]
        file_states.check_same(path, self._states[number], file_states.find(path))


def read_rows(
    file: Any, group: int, column: str, rows: Mapping[int, Any] | None = None
) -> Iterator[tuple[int, bytes | None]]:
    """Yields the number and the bytes of rows in a row group; None for an empty cell.

    Args:
        file: A `pyarrow.parquet.ParquetFile`.
        group: Number of the row group.
        column: Path of the column.
        rows: Numbers of the rows to yield; None yields all rows.
    """
    start, num_left = 0, None if rows is None else len(rows)
    batches = file.iter_batches(
        _BATCH_ROWS, row_groups=[group], columns=[column], use_threads=False
    )
    for batch in batches:
        cells = leaf(batch, column)
        for place in range(len(cells)):
            if rows is None or start + place in rows:
                yield start + place, cells[place].as_py()
                num_left = None if num_left is None else num_left - 1
        start += len(cells)
        if num_left == 0:
            return


def leaf(table: Any, path: str) -> Any:
    """Returns the column at a path, such as `image.bytes`, in a table or a batch."""
    from pyarrow import compute

    name, *inner = path.split(".")
    column = table.column(name)
    for field in inner:
        column = compute.struct_field(column, field)  # pyright: ignore
    return column
