"""Reads files of a bucket ahead, in a few threads.

A request takes tens of milliseconds, however few bytes it reads. Reading local files
ahead is left to the operating system.
"""

import concurrent.futures
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from pipeline.storage import paths

_NUM_THREADS = 8
# Limits on the parts read ahead; the last part may exceed the limit in bytes.
_MAX_PARTS = 48
_MAX_BYTES = 64 << 20


class Part(NamedTuple):
    """A part of a file, or a whole file.

    Attributes:
        path: Path or URL of the file.
        num_bytes: Size of the part in bytes.
        start: First byte of the part; None reads the whole file, even if its size has
            changed.
    """

    path: str
    num_bytes: int
    start: int | None = None

    def read(self) -> bytes:
        """Returns the bytes of the part; see `paths.read_range` for the errors."""
        if self.start is None:
            return paths.read_bytes(self.path)
        return paths.read_range(self.path, self.start, self.num_bytes)


class ReadAhead:
    """Reads announced parts ahead, and any other part on request."""

    def __init__(self) -> None:
        """Starts no thread yet: the first announcement does."""
        self._announced: Iterator[Part] = iter(())
        self._coming: dict[Part, concurrent.futures.Future[bytes]] = {}
        self._num_bytes = 0
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as a new object without announcements, for the workers."""
        return ReadAhead, ()

    def announce(self, parts: Iterable[Part]) -> None:
        """Starts to read parts ahead, in the order of later `read` calls.

        Args:
            parts: Parts that `read` will request; they replace earlier announcements.
        """
        for future in self._coming.values():
            future.cancel()
        self._announced = iter(parts)
        self._coming, self._num_bytes = {}, 0
        self._pool = self._pool or concurrent.futures.ThreadPoolExecutor(_NUM_THREADS)
        self._read_on(self._pool)

    def read(self, part: Part) -> bytes:
        """Returns the bytes of a part, and drops them from memory.

        Raises:
            FileNotFoundError: If the file of the part does not exist.
            DatasetError: If the part cannot be read.
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
