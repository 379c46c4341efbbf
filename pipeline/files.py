"""Files that are there in full or not at all, and how large ones are written.

Neither TensorFlow nor Beam is imported: a worker starts in a second without them.
"""

import contextlib
import errno
import os
import pathlib
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
    folder = tempfile.gettempdir() if "://" in output else f"{output}/{PROGRESS_DIR}"
    return pathlib.Path(folder, f"{name}.{uuid.uuid4().hex}.tmp")


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
