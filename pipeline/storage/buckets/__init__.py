"""Buckets of S3 and Cloud Storage, by the clients that Beam's own flags configure.

cloud_storage  Google Cloud Storage
s3             S3, and stores that speak its protocol

Beam's `FileSystems` has the same operations, but those of Beam 2.77 do not serve here:
a file that an exception leaves half written is completed on S3, and looks whole; an
empty one is an error there; a bucket that does not exist looks empty; without
credentials an operation is tried again for eight minutes; and every operation makes a
client anew, in 0.17 s of CPU time. The clients themselves do all of this well.

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

# By the scheme of a URL: module, extra that has what it imports.
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
        name: Its path from there, with slashes.
        num_bytes: Size of a file.
        modified_ns: When a file was last modified, in nanoseconds since the epoch.
        is_directory: Whether it is one.
    """

    name: str
    num_bytes: int = 0
    modified_ns: int = 0
    is_directory: bool = False


class Bucket(abc.ABC):
    """A bucket, in which a file is whole or not at all; for any number of threads.

    Every method raises `DatasetError` if the bucket does not exist, cannot be reached,
    or refuses access.
    """

    def __init__(self, url: str) -> None:
        """Keeps the URL, which has no slash at its end."""
        self.url = url

    @abc.abstractmethod
    def read(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """Returns the bytes of a file from `start` to `end`, or to where it ends.

        Raises:
            FileNotFoundError: If it is not there.
        """

    @abc.abstractmethod
    def write(self, key: str, data: bytes) -> None:
        """Writes a file."""

    @abc.abstractmethod
    def upload(self, path: str, key: str) -> None:
        """Writes a file that is a copy of a local one."""

    @abc.abstractmethod
    def find(self, key: str) -> Entry | None:
        """Returns what is known of a file, or None if it is not there."""

    @abc.abstractmethod
    def list_entries(self, prefix: str, delimiter: str = "") -> Iterator[Entry]:
        """Yields the files whose keys begin with a prefix, by what follows it.

        Args:
            prefix: It may be empty.
            delimiter: A directory ends with it; what is below one is not listed.
        """

    @abc.abstractmethod
    def remove(self, key: str) -> None:
        """Removes a file, if it is there."""

    def absent(self, key: str) -> FileNotFoundError:
        """Returns the error of a file that is not there, once its bucket is seen."""
        assert self._exists
        url = f"{self.url}/{key}"
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url)

    @functools.cached_property
    def _exists(self) -> bool:
        # It needs no right but to list the files, which raises if there is no bucket.
        next(self.list_entries(""), None)
        return True

    def no_bucket(self) -> contract.DatasetError:
        """Returns the error of a bucket that does not exist."""
        return contract.DatasetError(
            f"there is no bucket {self.url}: make it, or correct the URL"
        )

    def no_access(self, key: str, error: Exception) -> contract.DatasetError:
        """Returns the error of a refusal."""
        return contract.DatasetError(
            f"no access to {self.url}/{key}: let the account read and list, for "
            f"--output also write and delete ({_one_line(error)})"
        )

    def failed(self, key: str, error: Exception) -> contract.DatasetError:
        """Returns the error of any other failure."""
        return contract.DatasetError(f"cannot use {self.url}/{key}: {_one_line(error)}")


class BucketFile(io.RawIOBase):
    """A file in a bucket, opened to be read."""

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
        """Moves to an offset from the start, from here or from the end."""
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}
        self._position = max(0, starts.get(whence, self._num_bytes) + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Fills a buffer from here on, and returns how far."""
        end = min(self._position + len(buffer), self._num_bytes)
        if end <= self._position:
            return 0
        data = self._bucket.read(self._key, self._position, end)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def configure(beam_flags: Sequence[str]) -> None:
    """Gives this process Beam's flags for buckets, such as --s3_endpoint_url.

    A launcher and each of its workers need it: Beam's options reach neither the worker
    processes of its local runner nor those of a pool, as on Flink.
    """
    global _beam_flags
    _beam_flags = tuple(beam_flags)


def find_bucket(url: str) -> tuple[Bucket, str]:
    """Returns the bucket of a URL, and the key that follows it.

    Raises:
        DatasetError: If it is no URL of a bucket, or its client is not installed.

    Example:
        >>> find_bucket("ftp://host/faces")
        Traceback (most recent call last):
        pipeline.contract.DatasetError: ftp://host/faces is no local path, and begins \
with none of gs://, s3://
    """
    scheme, _, rest = url.partition("://")
    name, _, key = rest.partition("/")
    if scheme not in _STORES:
        known = ", ".join(f"{scheme}://" for scheme in _STORES)
        raise contract.DatasetError(
            f"{url} is no local path, and begins with none of {known}"
        )
    if not name:
        raise contract.DatasetError(f"{url} names no bucket: {scheme}://BUCKET/...")
    return _open_bucket(scheme, name, _beam_flags), key


@functools.lru_cache
def _open_bucket(scheme: str, name: str, beam_flags: tuple[str, ...]) -> Bucket:
    module, extra = _STORES[scheme]
    try:
        store = importlib.import_module(module)
    except ImportError as error:
        raise contract.DatasetError(
            f"{scheme}://{name} needs more than is installed: "
            f"pip install 'vaeline[{extra}]' ({error})"
        ) from error
    return store.open_bucket(f"{scheme}://{name}", name, beam_flags)


def in_ns(time: datetime.datetime) -> int:
    """Returns a time in nanoseconds since the epoch, without a float's rounding."""
    return (time - _EPOCH) // datetime.timedelta(microseconds=1) * 1000


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
