"""Buckets of S3 and Cloud Storage, with clients that Beam's own flags configure.

cloud_storage  Google Cloud Storage
s3             S3, and other stores with its protocol

Beam's `FileSystems` offers the same operations, but has these faults in Beam 2.77. On
S3 it completes a file that an exception left half written, so the file looks whole. On
S3 it fails for an empty file. It reports a bucket that does not exist as empty. Without
credentials it retries an operation for eight minutes. Every operation makes a new
client, in 0.17 s of CPU time. The clients themselves have none of these faults.

Beam and the clients are imported when the first bucket is opened.
"""

import abc
import dataclasses
import datetime
import errno
import functools
import importlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence

from pipeline import contract

# URL scheme -> (module, name of the pip extra that installs its imports).
_STORES: Mapping[str, tuple[str, str]] = {
    "gs": ("pipeline.storage.buckets.cloud_storage", "gcp"),
    "s3": ("pipeline.storage.buckets.s3", "aws"),
}
_EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)

_beam_flags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file or a directory in a directory.

    Attributes:
        name: Path from the directory that was listed, with slashes.
        num_bytes: Size of a file in bytes.
        modified_ns: Last modification of a file, in nanoseconds since the epoch.
        is_directory: Whether the entry is a directory.
    """

    name: str
    num_bytes: int = 0
    modified_ns: int = 0
    is_directory: bool = False


class Bucket(abc.ABC):
    """A bucket that holds a file in full or not at all; threads may share it.

    Every method raises `DatasetError` if the bucket does not exist, cannot be reached,
    or refuses access.
    """

    def __init__(self, url: str) -> None:
        """Keeps the bucket's URL, which does not end with a slash."""
        self.url = url
        self._exists = False

    @abc.abstractmethod
    def read(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """Returns the bytes of a file from `start` to `end`, or to the file's end.

        Raises:
            FileNotFoundError: If the file does not exist.
        """

    @abc.abstractmethod
    def write(self, key: str, data: bytes) -> None:
        """Writes a file."""

    @abc.abstractmethod
    def upload(self, path: str, key: str) -> None:
        """Uploads a copy of a local file."""

    @abc.abstractmethod
    def find(self, key: str) -> Entry | None:
        """Returns size and modification time of a file, or None if it is absent."""

    @abc.abstractmethod
    def list_entries(self, prefix: str, delimiter: str = "") -> Iterator[Entry]:
        """Yields the files whose keys begin with a prefix, named without the prefix.

        Args:
            prefix: Beginning of the keys; may be empty.
            delimiter: End of a directory's name. If given, directories are listed, but
                not the files in them. If empty, all files are listed.
        """

    @abc.abstractmethod
    def remove(self, key: str) -> None:
        """Removes a file, if it exists."""

    def absent(self, key: str) -> FileNotFoundError:
        """Checks that the bucket exists, and returns the error for an absent file."""
        self._check_exists()
        url = f"{self.url}/{key}"
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url)

    def _check_exists(self) -> None:
        # Listing needs only the right to list files, and raises if there is no bucket.
        if not self._exists:
            next(self.list_entries(""), None)
            self._exists = True

    def no_bucket(self) -> contract.DatasetError:
        """Returns the error for a bucket that does not exist."""
        return contract.DatasetError(
            f"there is no bucket {self.url}: create it, or correct the URL"
        )

    def no_access(self, key: str, error: Exception) -> contract.DatasetError:
        """Returns the error for an access that the store refused."""
        return contract.DatasetError(
            f"no access to {self.url}/{key}: allow the account to read and list, and "
            f"for `output` also to write and delete ({_one_line(error)})"
        )

    def failed(self, key: str, error: Exception) -> contract.DatasetError:
        """Returns the error for any other failure."""
        return contract.DatasetError(f"cannot use {self.url}/{key}: {_one_line(error)}")


class BucketFile(io.RawIOBase):
    """A file in a bucket, open for reading."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        """Looks for the file.

        Raises:
            DatasetError: If the bucket cannot be used.
            FileNotFoundError: If the file is not there.
        """
        super().__init__()
        entry = bucket.find(key)
        if entry is None:
            raise bucket.absent(key)
        self._bucket, self._key = bucket, key
        self._num_bytes, self._position = entry.num_bytes, 0

    def readable(self) -> bool:
        """Returns True."""
        return True

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to an offset from the start, the current position or the end."""
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}
        self._position = max(0, starts.get(whence, self._num_bytes) + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Fills a buffer from the current position, and returns the number of bytes."""
        end = min(self._position + len(buffer), self._num_bytes)
        if end <= self._position:
            return 0
        data = self._bucket.read(self._key, self._position, end)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def configure(beam_flags: Sequence[str]) -> None:
    """Gives this process Beam's flags for buckets, such as --s3_endpoint_url.

    The launcher and each of its workers must call this function. Beam does not pass its
    options to the worker processes of its local runner, or to the workers of a worker
    pool, as on Flink.
    """
    global _beam_flags
    _beam_flags = tuple(beam_flags)


def find_bucket(url: str) -> tuple[Bucket, str]:
    """Returns the bucket of a URL, and the key in the bucket.

    Raises:
        DatasetError: If `url` names no bucket, or the store's client is not installed.

    Example:
        >>> find_bucket("ftp://host/faces")
        Traceback (most recent call last):
        pipeline.contract.DatasetError: ftp://host/faces is not a local path, and \
begins with none of gs://, s3://
    """
    scheme, _, rest = url.partition("://")
    name, _, key = rest.partition("/")
    if scheme not in _STORES:
        known = ", ".join(f"{scheme}://" for scheme in _STORES)
        raise contract.DatasetError(
            f"{url} is not a local path, and begins with none of {known}"
        )
    if not name:
        raise contract.DatasetError(
            f"{url} names no bucket: give {scheme}://BUCKET/..."
        )
    return _open_bucket(scheme, name, _beam_flags), key


@functools.lru_cache
def _open_bucket(scheme: str, name: str, beam_flags: tuple[str, ...]) -> Bucket:
    module, extra = _STORES[scheme]
    try:
        store = importlib.import_module(module)
    except ImportError as error:
        raise contract.DatasetError(
            f"{scheme}://{name} needs a package that is not installed: run "
            f"pip install '.[{extra}]' in the checkout ({error})"
        ) from error
    return store.open_bucket(f"{scheme}://{name}", name, beam_flags)


def in_ns(time: datetime.datetime) -> int:
    """Returns a time in nanoseconds since the epoch, without floating-point error."""
    return (time - _EPOCH) // datetime.timedelta(microseconds=1) * 1000


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
