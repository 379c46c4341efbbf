"""Writes large files in a thread, bypassing the page cache."""

import concurrent.futures
import contextlib
import errno
import fcntl
import mmap
import os
import pathlib

# Size of each of the two pieces that a `LargeFile` holds in memory, a multiple of the
# page size.
_PIECE_BYTES = 4 << 20

# Zero on systems without O_DIRECT.
_DIRECT = getattr(os, "O_DIRECT", 0)


class LargeFile:
    """A new file, written once from start to end, bypassing the page cache.

    A dataset may be larger than the memory. Copying it into the kernel's page cache
    would take a sixth of the processor's time, and evict other programs' files. A
    thread writes one piece while the caller fills the next one.

    If the file system refuses direct writes, the writes go through the page cache.
    After each write, the pages that are on the disk leave the cache.
    """

    def __init__(self, path: pathlib.Path) -> None:
        """Opens the file.

        Args:
            path: Path of the file; an existing file is replaced.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            self._file = os.open(path, flags | _DIRECT, 0o666)
            self._is_direct = bool(_DIRECT)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._file = os.open(path, flags, 0o666)
            self._is_direct = False
        # Both pieces begin at a page boundary, as direct writes require.
        self._piece, self._other = (_new_piece() for _ in range(2))
        self._num_filled = self._num_bytes = 0
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self._written: concurrent.futures.Future[None] | None = None

    def __enter__(self) -> "LargeFile":
        """Returns the file itself."""
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Writes the remaining bytes if there was no error, and closes the file."""
        try:
            if error is None:
                self._finish()
        finally:
            self._thread.shutdown()
            os.close(self._file)

    def write(self, data: bytes | memoryview) -> None:
        """Appends bytes to the file.

        Raises:
            OSError: If these or earlier bytes cannot be written.
        """
        rest = memoryview(data)
        while rest:
            start = self._num_filled
            stop = min(start + len(rest), _PIECE_BYTES)
            self._piece[start:stop] = rest[: stop - start]
            self._num_filled = stop
            rest = rest[stop - start :]
            if stop == _PIECE_BYTES:
                self._write_piece()

    def _finish(self) -> None:
        num_bytes = self._num_bytes + self._num_filled
        self._write_piece()
        self._wait()
        # The last piece was padded to a whole page.
        os.ftruncate(self._file, num_bytes)

    def _write_piece(self) -> None:
        self._wait()
        self._written = self._thread.submit(
            self._write_at, self._num_bytes, self._piece, self._num_filled
        )
        self._num_bytes += self._num_filled
        self._num_filled = 0
        self._piece, self._other = self._other, self._piece

    def _wait(self) -> None:
        if self._written is not None:
            self._written.result()

    def _write_at(self, start: int, piece: mmap.mmap, num_bytes: int) -> None:
        stop = start + -(-num_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        rest = memoryview(piece)[: stop - start]
        while rest:
            try:
                num_written = os.pwrite(self._file, rest, stop - len(rest))
            except OSError as error:
                if not self._is_direct or error.errno != errno.EINVAL:
                    raise
                # Some systems refuse direct writes only here. Every system refuses
                # them in the middle of a page, after a partial write.
                flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
                fcntl.fcntl(self._file, fcntl.F_SETFL, flags & ~_DIRECT)
                self._is_direct = False
            else:
                rest = rest[num_written:]
        # Not every system has this call.
        if not self._is_direct and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)


def _new_piece() -> mmap.mmap:
    piece = mmap.mmap(-1, _PIECE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # With huge pages, a write needs two page lookups instead of a thousand. Not every
    # system has huge pages or accepts the advice.
    with contextlib.suppress(AttributeError, OSError):
        piece.madvise(mmap.MADV_HUGEPAGE)
    return piece
