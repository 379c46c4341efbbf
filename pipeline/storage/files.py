"""Files that are there in full or not at all, even after a loss of power.

A file that is renamed is not on the disk yet: its bytes, its name and the name of its
directory all wait in memory. So what must survive a loss of power is written under a
temporary name, synced, renamed, and its directory is synced; see `put`.

Neither TensorFlow nor Beam is imported: a worker starts in a second without them.
"""

import contextlib
import errno
import functools
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

from pipeline import contract

# In the output directory: what a rerun needs.
PROGRESS_DIR = ".progress"

# What a directory is answered with that cannot be synced, or was not changed.
_UNSYNCED = (errno.EINVAL, errno.ENOTSUP, errno.EROFS, errno.EACCES)

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
        match = re.match(rf"{re.escape(machine)}(\d+)-", name)
        if match and not _is_running(int(match[1])):
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
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    # Whoever made one that is there may have been killed before it was synced.
    for each in missing or [path]:
        sync_names(each.parent)


def discard(path: pathlib.Path) -> None:
    """Removes whatever has a name, if anything has: a link, and not what it leads to.

    Raises:
        OSError: If it cannot be removed.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
