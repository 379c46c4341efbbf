"""Files that are there in full or not at all, even after a loss of power.

A file that is renamed is not on the disk yet: its bytes, its name and the name of its
directory all wait in memory. So what must survive a loss of power is written under a
temporary name, synced, renamed, and its directory is synced; see `put`.

Neither TensorFlow nor Beam is imported: a worker starts in a second without them.
"""

import concurrent.futures
import contextlib
import errno
import fcntl
import functools
import mmap
import os
import pathlib
import re
import shutil
import socket
import struct
import tempfile
import tokenize
import uuid
import zipfile
import zlib
from collections.abc import Iterator

from absl import logging

from pipeline import contract

# In the output directory: what a rerun needs.
PROGRESS_DIR = ".progress"

# Of a `LargeFile`, of which two are in memory: whole pages.
_PIECE_BYTES = 4 << 20

# What a directory is answered with that cannot be synced, or was not changed.
_UNSYNCED = (errno.EINVAL, errno.ENOTSUP, errno.EROFS, errno.EACCES)

# Not every system has it.
_DIRECT = getattr(os, "O_DIRECT", 0)

# What zipfile and NumPy raise on a zip or an npz that is damaged, is encrypted, has
# pickles, or asks for more memory than there is.
ARCHIVE_ERRORS = (
    OSError,
    EOFError,
    LookupError,
    ArithmeticError,
    ValueError,
    TypeError,
    SyntaxError,
    RuntimeError,
    MemoryError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def temporary_path(output: str, name: str) -> pathlib.Path:
    """Returns a new local path for a file that is not finished.

    Args:
        output: Where it is to go. A local directory has it on the same disk; for a
            bucket it is in `TMPDIR`.
        name: Of the finished file.
    """
    unfinished = f"{name}.{uuid.uuid4().hex}.tmp"
    if "://" in output:
        prefix = scratch_prefix(tempfile.gettempdir(), os.getpid())
        return pathlib.Path(tempfile.gettempdir(), prefix + unfinished)
    return pathlib.Path(output, PROGRESS_DIR, unfinished)


@functools.cache
def scratch_prefix(folder: str, pid: int) -> str:
    """Returns how names of a process in `TMPDIR` begin, and tidies up there once.

    What processes of this machine left that were killed is removed.

    Args:
        folder: `TMPDIR`.
        pid: Of the process.
    """
    machine = f"vaeline-{socket.gethostname()}-"
    for name in os.listdir(folder):
        found = re.match(rf"{re.escape(machine)}(\d+)-", name)
        if found and not _is_running(int(found[1])):
            # It may be another user's, or be removed by another process.
            with contextlib.suppress(OSError):
                discard(pathlib.Path(folder, name))
    return f"{machine}{pid}-"


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def write_bytes(path: pathlib.Path, data: bytes) -> None:
    """Writes a small file, which is on the disk in full or not at all.

    Raises:
        OSError: If it cannot be written; what was there before stays.
    """
    # Two workers may write the same file.
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with naming(path):
            temporary.write_bytes(data)
        put(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def put(temporary: pathlib.Path, path: pathlib.Path) -> None:
    """Renames what is written; it is on the disk once this returns.

    Args:
        temporary: A file, or a directory of files, on the same disk.
        path: Where it is to be seen; a file that is there is replaced.

    Raises:
        OSError: If it cannot be written or renamed.
    """
    sync(temporary)
    os.replace(temporary, path)
    sync_names(path.parent)


def sync(path: pathlib.Path) -> None:
    """Puts the content of a file, or of a directory and all below, on the disk.

    Raises:
        OSError: If the disk cannot take it.
    """
    if path.is_dir():
        for entry in path.iterdir():
            sync(entry)
        sync_names(path)
        return
    _fsync(path)


def sync_names(directory: pathlib.Path) -> None:
    """Puts the names in a directory on the disk: what was made, renamed or removed.

    Some file systems sync no directory, and a directory that this user may not read
    cannot be opened. Such names reach the disk when the system sees fit.

    Raises:
        OSError: If the disk cannot take them.
    """
    try:
        _fsync(directory)
    except OSError as error:
        if error.errno not in _UNSYNCED:
            raise


def _fsync(path: pathlib.Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        with naming(path):
            os.fsync(opened)
    finally:
        os.close(opened)


@contextlib.contextmanager
def naming(path: pathlib.Path) -> Iterator[None]:
    """Names a file in an error of the system that names none, as those of a write."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def make_directory(path: pathlib.Path) -> None:
    """Makes a directory, and those above, whose names are then on the disk.

    Raises:
        OSError: If it cannot be made.
    """
    made = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    # Whoever made one that is there may have been killed before it was synced.
    for each in made or [path]:
        sync_names(each.parent)


class DirectoryLock:
    """A directory that one process holds, until it closes the lock or ends.

    The directory itself is locked, as a file in it may be removed or replaced, and a
    file in it, as some network file systems lock no directories.
    """

    def __init__(self, directory: pathlib.Path, path: pathlib.Path) -> None:
        """Locks it.

        Args:
            directory: What to hold.
            path: Of the file in it, which is made if it is not there.

        Raises:
            BlockingIOError: If another process holds it.
            OSError: If the file cannot be opened, or is a link or a pipe.
        """
        self._opened: list[int] = []
        self._locked: list[tuple[pathlib.Path, int]] = []
        # A link would make a file elsewhere, and a pipe would wait for a reader.
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            with contextlib.suppress(PermissionError):
                self._lock(directory, os.open(directory, os.O_RDONLY))
            self._lock(path, os.open(path, flags, 0o666))
        except BaseException:
            self.close()
            raise
        if not self._locked:
            logging.warning(
                "cannot lock %s: its file system has no locks, so give it to one "
                "process at a time",
                directory,
            )

    def _lock(self, path: pathlib.Path, opened: int) -> None:
        self._opened.append(opened)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            # Some network file systems have no locks.
            return
        self._locked.append((path, opened))

    def is_held(self) -> bool:
        """Returns whether what is locked is still where it was, and not replaced."""
        # The first is the directory, wherever one can be locked.
        for path, opened in self._locked[:1]:
            try:
                return os.path.samestat(os.stat(path), os.fstat(opened))
            except FileNotFoundError:
                return False
        return True

    def close(self) -> None:
        """Lets others have it."""
        self._locked.clear()
        while self._opened:
            os.close(self._opened.pop())

    def __enter__(self) -> "DirectoryLock":
        """Returns it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    def __del__(self) -> None:
        """Closes it, as a file that nobody holds any more."""
        self.close()


def discard(path: pathlib.Path) -> None:
    """Removes whatever has a name, if anything has: a link, and not what it leads to.

    Raises:
        OSError: If it cannot be removed.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class LargeFile:
    """A new file, written once from its start to its end, past the page cache.

    A data set may be larger than the memory. The kernel's copy of it would take a
    sixth of the processor's time, and the place of other programs' files. A thread
    writes one piece while the next is filled.

    Where the file system takes no direct writes, they go through the page cache, and
    leave it as soon as they are on the disk.
    """

    def __init__(self, path: pathlib.Path) -> None:
        """Opens it.

        Args:
            path: Where it is to be; a file that is there is replaced.
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
        # Each begins at a page, as direct writes must.
        self._piece, self._other = (_new_piece() for _ in range(2))
        self._num_filled = self._num_bytes = 0
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self._written: concurrent.futures.Future[None] | None = None

    def __enter__(self) -> "LargeFile":
        """Returns it."""
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Writes what is left, unless there was an error, and closes it."""
        try:
            if error is None:
                self._finish()
        finally:
            self._thread.shutdown()
            os.close(self._file)

    def write(self, data: bytes | memoryview) -> None:
        """Adds bytes to its end.

        Raises:
            OSError: If these or earlier ones cannot be written.
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
        # The last piece was written up to the end of a page.
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
                # As some systems say only here, and all after a part of a page.
                flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
                fcntl.fcntl(self._file, fcntl.F_SETFL, flags & ~_DIRECT)
                self._is_direct = False
            else:
                rest = rest[num_written:]
        # Not every system takes the advice.
        if not self._is_direct and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)


def _new_piece() -> mmap.mmap:
    piece = mmap.mmap(-1, _PIECE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # Of large pages the kernel has two to look up for a write, and not a thousand. Not
    # every system has them, or takes the advice.
    with contextlib.suppress(AttributeError, OSError):
        piece.madvise(mmap.MADV_HUGEPAGE)
    return piece


@contextlib.contextmanager
def full_disk_explained(folder: str, name: str) -> Iterator[None]:
    """Turns the error of a full disk to one that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise contract.DatasetError(
            f"no space left in {folder} while writing {name}: free some space and "
            "run the same command again; it keeps the finished shards"
        ) from error
