"""Reads and writes files by path: local, or the URL of a bucket (gs:// or s3://).

For local files see `files.py`, and for buckets see `buckets`. A directory in a bucket
need not be made, and does not exist without files.

This module does not import TensorFlow. It imports Beam for URLs only.
"""

import contextlib
import hashlib
import io
import os
import pathlib
from collections.abc import Iterator

from pipeline import contract
from pipeline.storage import buckets, files
from pipeline.storage.buckets import Entry

# Size of the buffer of an open file in a bucket: a large buffer needs fewer requests.
_READ_BUFFER_BYTES = 8 << 20


def is_url(path: str) -> bool:
    """Returns whether a path is a URL instead of a local path.

    Example:
        >>> is_url("s3://bucket/faces"), is_url("/data/faces")
        (True, False)
    """
    return "://" in path


def join(path: str, *names: str) -> str:
    """Returns the path of an entry in a directory.

    Example:
        >>> join("gs://bucket/faces/", "Img", "a.jpg"), join("faces", "a.jpg")
        ('gs://bucket/faces/Img/a.jpg', 'faces/a.jpg')
    """
    if is_url(path):
        return "/".join([path.rstrip("/"), *names])
    return os.path.join(path, *names)


def read_bytes(path: str) -> bytes:
    """Returns the content of a file.

    Raises:
        FileNotFoundError: If the file does not exist.
        DatasetError: If the file cannot be read.
    """
    if is_url(path):
        bucket, key = buckets.find_bucket(path)
        return bucket.read(key)
    with _explained(path):
        contract.check_is_file(path)
        return pathlib.Path(path).read_bytes()


def read_range(path: str, start: int, num_bytes: int) -> bytes:
    """Returns a range of a file's bytes, cut off where the file ends.

    Raises:
        FileNotFoundError: If the file does not exist.
        DatasetError: If the file cannot be read.
    """
    if not num_bytes:
        return b""
    if is_url(path):
        bucket, key = buckets.find_bucket(path)
        return bucket.read(key, start, start + num_bytes)
    with _explained(path), open_file(path) as file:
        return os.pread(file.fileno(), num_bytes, start)


def open_file(path: str) -> io.BufferedReader:
    """Opens a file for reading at any position.

    Raises:
        FileNotFoundError: If the file does not exist.
        DatasetError: If the file cannot be read. Every later read of a URL may raise
            it, too.
    """
    if is_url(path):
        file = buckets.BucketFile(*buckets.find_bucket(path))
        return io.BufferedReader(file, _READ_BUFFER_BYTES)
    with _explained(path):
        contract.check_is_file(path)
        return open(path, "rb")


def hash_file(path: str) -> str:
    """Returns the hex sha256 of a file, read in chunks.

    Raises:
        FileNotFoundError: If the file does not exist.
        DatasetError: If the file cannot be read.
    """
    with _explained(path), open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find(path: str) -> Entry | None:
    """Returns size and modification time of a file, or None if no file is there.

    Pipes and devices count as files. Opening them raises an error that names the kind.

    Raises:
        DatasetError: If the path cannot be examined.
    """
    if is_url(path):
        bucket, key = buckets.find_bucket(path)
        return bucket.find(key) if key else None
    with _explained(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if os.path.exists(path) and not os.path.isdir(path):
            return _entry(path, os.path.basename(path))
    return None


def is_directory(path: str) -> bool:
    """Returns whether a directory exists; a bucket's directory exists if it has files.

    Raises:
        DatasetError: If the path cannot be examined, or a URL's bucket does not exist.
    """
    if is_url(path):
        return next(_list_bucket(path), None) is not None
    return os.path.isdir(path)


def list_directory(path: str) -> Iterator[Entry]:
    """Yields the files and directories directly in a directory, in no order.

    Yields nothing if the directory does not exist. Pipes and devices count as files, as
    in `find`.

    Raises:
        DatasetError: If the directory cannot be read, or a URL's bucket does not exist.
    """
    if is_url(path):
        yield from _list_bucket(path, delimiter="/")
    elif os.path.isdir(path):
        # The directory may be removed meanwhile.
        gone = contextlib.suppress(FileNotFoundError)
        with _explained(path), gone, os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir():
                    yield Entry(entry.name, is_directory=True)
                # Skip a dangling link.
                elif entry.is_file() or os.path.exists(entry.path):
                    # A worker may rename or remove its temporary files meanwhile.
                    with contextlib.suppress(FileNotFoundError):
                        yield _entry(entry.path, entry.name)


def walk(path: str) -> Iterator[Entry]:
    """Yields the files in a directory and below, in no order, as it finds them.

    An entry's name is its path from the directory, with slashes. Links to directories
    are not followed.

    Raises:
        DatasetError: If a directory cannot be read, or a URL's bucket does not exist.
    """
    if is_url(path):
        yield from _list_bucket(path)
        return
    pending = [""]
    while pending:
        prefix = pending.pop()
        for entry in list_directory(os.path.join(path, prefix)):
            name = f"{prefix}{entry.name}"
            if not entry.is_directory:
                yield Entry(name, entry.num_bytes, entry.modified_ns)
            elif not os.path.islink(os.path.join(path, name)):
                pending.append(f"{name}/")


def make_directory(path: str) -> None:
    """Makes a local directory and its missing parents, and syncs their names.

    Does nothing for a URL.

    Raises:
        DatasetError: If a directory cannot be made.
    """
    if not is_url(path):
        with _explained(path):
            files.make_directory(pathlib.Path(path))


def write_bytes(path: str, data: bytes) -> None:
    """Writes a file in full or not at all; syncs a local file.

    Raises:
        DatasetError: If the file cannot be written.
    """
    if is_url(path):
        bucket, key = buckets.find_bucket(path)
        bucket.write(key, data)
        return
    with _writing(path):
        files.write_bytes(pathlib.Path(path), data)


def put_file(local_path: str, path: str, *, is_synced: bool = True) -> None:
    """Moves a finished local file to its final path, all at once.

    Args:
        local_path: Path of the finished file, on the same disk if `path` is local.
        path: Final path; an existing file is replaced.
        is_synced: Whether to sync a local file to the disk before returning.

    Raises:
        DatasetError: If the file cannot be written.
    """
    if is_url(path):
        bucket, key = buckets.find_bucket(path)
        bucket.upload(local_path, key)
        os.unlink(local_path)
        return
    with _writing(path):
        put = files.put if is_synced else os.replace
        put(pathlib.Path(local_path), pathlib.Path(path))


def remove(path: str, *, is_synced: bool = False) -> None:
    """Removes a file, if it exists.

    Args:
        path: Path of the file.
        is_synced: Whether to sync the removal of a local file before returning.

    Raises:
        DatasetError: If the file cannot be removed.
    """
    if is_url(path):
        bucket, key = buckets.find_bucket(path)
        bucket.remove(key)
        return
    with _explained(path):
        pathlib.Path(path).unlink(missing_ok=True)
        if is_synced:
            files.sync_names(pathlib.Path(path).parent)


def _list_bucket(path: str, delimiter: str = "") -> Iterator[Entry]:
    bucket, key = buckets.find_bucket(path)
    prefix = f"{key.rstrip('/')}/" if key else ""
    for entry in bucket.list_entries(prefix, delimiter):
        # Some programs mark a directory with an empty file.
        if entry.name and not entry.name.endswith("/"):
            yield entry


def _entry(path: str, name: str) -> Entry:
    status = os.stat(path)
    return Entry(name, status.st_size, status.st_mtime_ns)


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turns every system error except `FileNotFoundError` into a `DatasetError`."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise contract.DatasetError(f"cannot use {path}: {error.strerror}") from error


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    folder, name = os.path.split(path)
    try:
        with files.full_disk_explained(folder, name):
            yield
    except OSError as error:
        raise contract.DatasetError(f"cannot write {path}: {error.strerror}") from error
