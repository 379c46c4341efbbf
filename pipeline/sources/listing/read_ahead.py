"""Files of a bucket, read by a few threads before they are asked for.

A request takes tens of milliseconds however little it asks for. Local files are read
ahead by the system; see `Reader.prefetch`.
"""

import concurrent.futures
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from pipeline.storage import paths

_NUM_THREADS = 8
# In memory before they are asked for; at least one is, whatever its size.
_MAX_PARTS = 48
_MAX_BYTES = 64 << 20


class Part(NamedTuple):
    """A part of a file, or all of it.

    Attributes:
        path: Of the file.
        num_bytes: Of the part.
        start: Of the part; None for all of the file, whatever its size is by now.
    """

    path: str
    num_bytes: int
    start: int | None = None

    def read(self) -> bytes:
        """Returns its content; see `paths.read_range` for the errors."""
        if self.start is None:
            return paths.read_bytes(self.path)
        return paths.read_range(self.path, self.start, self.num_bytes)


class ReadAhead:
    """Reads what was announced ahead, and anything else when it is asked for."""

    def __init__(self) -> None:
        """Starts no thread before something is announced."""
        self._announced: Iterator[Part] = iter(())
        self._coming: dict[Part, concurrent.futures.Future[bytes]] = {}
        self._num_bytes = 0
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """A worker gets one to which nothing is announced."""
        return ReadAhead, ()

    def announce(self, parts: Iterable[Part]) -> None:
        """Begins to read what will be asked for, in this order.

        Args:
            parts: In place of those that were announced before.
        """
        for future in self._coming.values():
            future.cancel()
        self._announced = iter(parts)
        self._coming, self._num_bytes = {}, 0
        self._pool = self._pool or concurrent.futures.ThreadPoolExecutor(_NUM_THREADS)
        self._read_on(self._pool)

    def read(self, part: Part) -> bytes:
        """Returns the content of a part, which is forgotten here.

        Raises:
            FileNotFoundError: If its file is not there.
            DatasetError: If it cannot be read.
        """
        future = self._coming.pop(part, None)
        if future is None or self._pool is None:
            return part.read()
        self._num_bytes -= part.num_bytes
        self._read_on(self._pool)
        return future.result()

    def _read_on(self, pool: concurrent.futures.ThreadPoolExecutor) -> None:
        while len(self._coming) < _MAX_PARTS and self._num_bytes < _MAX_BYTES:
            part = next(self._announced, None)
            if part is None:
                return
            self._coming[part] = pool.submit(part.read)
            self._num_bytes += part.num_bytes
