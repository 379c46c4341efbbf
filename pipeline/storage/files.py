"""Writes files in full or not at all, even if the power fails.

A renamed file is not on the disk yet: its bytes, its name and the name of its directory
all wait in memory. A file that must survive a power failure is therefore written under
a temporary name, synced and renamed, and then its directory is synced; see `put`.

This module imports neither TensorFlow nor Beam, so a worker starts in a second.
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

# Directory in the output directory that holds the files a rerun needs.
PROGRESS_DIR = ".progress"

# Errors of syncing a directory if the file system cannot sync directories or is
# read-only, or if this user may not read the directory.
_UNSYNCED = (errno.EINVAL, errno.ENOTSUP, errno.EROFS, errno.EACCES)

# Errors of zipfile and NumPy for a zip or npz file that is damaged, is encrypted, holds
# pickles, or needs more memory than the machine has.
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
    """Returns a new local path for an unfinished file.

    Args:
        output: Destination directory. For a local directory the path is on the same
            disk; for a bucket it is in `TMPDIR`.
        name: Name of the finished file.
    """
    unfinished = f"{name}.{uuid.uuid4().hex}.tmp"
    if "://" in output:
        prefix = scratch_prefix(tempfile.gettempdir(), os.getpid())
        return pathlib.Path(tempfile.gettempdir(), prefix + unfinished)
    return pathlib.Path(output, PROGRESS_DIR, unfinished)


@functools.cache
def scratch_prefix(folder: str, pid: int) -> str:
    """Returns the prefix of a process's file names in `TMPDIR`, and tidies up there.

    The first call removes the files that killed processes on this machine left there.

    Args:
        folder: Path of `TMPDIR`.
        pid: ID of the process.
    """
    machine = f"vaeline-{socket.gethostname()}-"
    for name in os.listdir(folder):
        match = re.match(rf"{re.escape(machine)}(\d+)-", name)
        if match and not _is_running(int(match[1])):
            # The file may be another user's, or another process may remove it first.
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
    """Writes a small file to the disk, in full or not at all.

    Raises:
        OSError: If the file cannot be written. An earlier version of it stays.
    """
    # Two workers may write the same file, so each needs its own temporary name.
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with naming(path):
            temporary.write_bytes(data)
        put(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def put(temporary: pathlib.Path, path: pathlib.Path) -> None:
    """Syncs a written file, renames it, and syncs its new name.

    Args:
        temporary: Path of a file, or of a directory of files, on the same disk.
        path: Final path; an existing file is replaced.

    Raises:
        OSError: If the file cannot be synced or renamed.
    """
    sync(temporary)
    os.replace(temporary, path)
    sync_names(path.parent)


def sync(path: pathlib.Path) -> None:
    """Syncs the content of a file, or of a directory and everything below it.

    Raises:
        OSError: If the disk cannot take the content.
    """
    if path.is_dir():
        for entry in path.iterdir():
            sync(entry)
        sync_names(path)
        return
    _fsync(path)


def sync_names(directory: pathlib.Path) -> None:
    """Syncs the names in a directory after files are made, renamed or removed.

    Some file systems cannot sync a directory, and a directory that this user may not
    read cannot be opened. In both cases the system writes the names when it sees fit.

    Raises:
        OSError: If the disk cannot take the names.
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
    """Adds a file's path to a system error without a path, such as a write error."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def make_directory(path: pathlib.Path) -> None:
    """Makes a directory and its missing parents, and syncs their names.

    Raises:
        OSError: If a directory cannot be made.
    """
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    # The process that made an existing directory may have been killed before its sync.
    for each in missing or [path]:
        sync_names(each.parent)


def discard(path: pathlib.Path) -> None:
    """Removes a file, a directory or a link (but not its target), if it exists.

    Raises:
        OSError: If the path cannot be removed.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def full_disk_explained(folder: str, name: str) -> Iterator[None]:
    """Turns the error of a full disk into a `DatasetError` with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise contract.DatasetError(
            f"no space left in {folder} while writing {name}: free some space and "
            "make the same call again; it keeps the finished shards"
        ) from error
