"""Files that are there in full or not at all, and how large ones are written.

Neither TensorFlow nor Beam is imported: a worker starts in a second without them.
"""

import contextlib
import errno
import hashlib
import os
import pathlib
import uuid
from collections.abc import Iterator

from pipeline import contract

# In the output directory: what a rerun needs.
PROGRESS_DIR = ".progress"

_HASH_CHUNK_BYTES = 1 << 20


def temporary_path(output: str, name: str) -> pathlib.Path:
    """Returns a new path for a file that is not finished, on the same disk."""
    return pathlib.Path(output, PROGRESS_DIR, f"{name}.{uuid.uuid4().hex}.tmp")


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a small file in UTF-8; see `write_bytes`."""
    write_bytes(path, text.encode())


def write_bytes(path: pathlib.Path, data: bytes) -> None:
    """Writes a small file so that it is there in full or not at all."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def hash_file(path: str | os.PathLike[str]) -> str:
    """Returns the hex sha256 of a file, read in chunks."""
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            sha256.update(chunk)
    return sha256.hexdigest()


def release_pages(file: int) -> None:
    """Starts to write a file's new pages, and frees those that are on the disk.

    A data set may be larger than the memory. Written through a few pages that are
    used again, it takes a quarter of the kernel's time on a virtual machine that must
    ask its host for every new page, and leaves the other programs' files in memory.

    Args:
        file: An open file descriptor.
    """
    # Not every system takes the advice.
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def full_disk_explained(output: str, name: str) -> Iterator[None]:
    """Turns the error of a full disk to one that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise contract.DatasetError(
            f"no space left in {output} while writing {name}: free some space and "
            "run the same command again; it keeps the finished shards"
        ) from error
