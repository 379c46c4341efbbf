"""Files of shards: opens as many as allowed, and finds the records in them.

shard: record after record, as [length u64 | its CRC u32 | record | its CRC u32]
"""

import concurrent.futures
import dataclasses
import os
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence

import google_crc32c
import numpy as np

from pipeline import contract
from pipeline.process import limits

# Maximum number of open shards; a reader that opens more closes its oldest.
MAX_OPEN_SHARDS = 256
# A reader keeps open at most 1 / _SHARES of the shards that a process may open, because
# several splits have readers, and each reader reads three batches at once.
_SHARES = 8

# Number of shards searched in parallel; a search mostly waits for the disk.
_PARALLEL_SEARCHES = 16

CRC_BYTES = 4
_HEAD = struct.Struct("<QI")
_LENGTH_BYTES = 8


class DamageError(contract.DatasetError):
    """A shard or a record differs from the data that was written; the text names it."""


class OpenFilesError(ValueError):
    """No more files can be opened; the text says what to do."""


class ShardFiles:
    """Opens shards and finds records in them, for any number of threads."""

    def __init__(
        self, paths: Sequence[str], shards: Sequence[contract.ShardInfo]
    ) -> None:
        """Stores the arguments, and opens no file yet.

        Args:
            paths: Paths of the shards.
            shards: Manifest entries of the shards.
        """
        self._paths = paths
        self._shards = shards
        share = max(1, limits.num_shards_open() // _SHARES)
        self._max_open = min(MAX_OPEN_SHARDS, share)
        # Byte offsets of all frames, shard after shard, each shard followed by its end
        # offset. An unknown offset is negative.
        ends = np.cumsum([shard.num_examples + 1 for shard in shards])
        self._firsts = np.append(0, ends)
        self._bounds = np.full(ends[-1], -1, np.int64)
        self._open_shards: dict[int, _OpenShard] = {}
        self._identities: dict[int, tuple[int, ...]] = {}
        self._lock = threading.Lock()

    def parts(self, places: np.ndarray) -> Iterator[slice]:
        """Yields slices of a batch; the shards of a slice can all be open at once.

        Args:
            places: `[batch, 2]` int64: index of a shard, and index of a record in the
                shard.
        """
        start, shards = 0, set()
        if len(places) > self._max_open:
            for at, index in enumerate(places[:, 0].tolist()):
                if len(shards) == self._max_open and index not in shards:
                    yield slice(start, at)
                    start, shards = at, set()
                shards.add(index)
        yield slice(start, len(places))

    def error(self, place: np.ndarray, text: str) -> DamageError:
        """Returns the error to raise for the record at a place, `[2]` as in `parts`."""
        index, record = place.tolist()
        return DamageError(f"record {record} of shard {self._paths[index]} {text}")

    def find(self, places: np.ndarray) -> "Frames":
        """Returns the byte offsets of records, and keeps them for later calls.

        Args:
            places: `[batch, 2]` int64: index of a shard, and index of a record in the
                shard. All places belong to the same slice from `parts`.

        Raises:
            DamageError: If a file differs from the manifest.
            OpenFilesError: If this process may not open more files.
        """
        indices, records = places.T
        begun = set(indices[records == 0].tolist())
        while True:
            bounds = self._bounds
            shards = {
                index: self._open(index, index in begun)
                for index in np.unique(indices).tolist()
            }
            # New bounds mean that a thread found a replaced file: start again.
            if bounds is self._bounds:
                break
        numbers = self._firsts[indices] + records
        is_unknown = bounds[numbers + 1] < 0
        if is_unknown.any():
            # Keep the last record of each shard: its search finds all earlier records
            # too.
            last = dict(sorted(places[is_unknown].tolist()))
            with concurrent.futures.ThreadPoolExecutor(_PARALLEL_SEARCHES) as searches:
                list(
                    searches.map(
                        lambda index: shards[index].find(
                            last[index], bounds[self._slice(index)]
                        ),
                        last,
                    )
                )
        starts = bounds[numbers] + _HEAD.size
        lengths = bounds[numbers + 1] - starts - CRC_BYTES
        return Frames(places, shards, starts, lengths)

    def _slice(self, index: int) -> slice:
        return slice(self._firsts[index], self._firsts[index + 1])

    def _open(self, index: int, is_begun: bool) -> "_OpenShard":
        shard = self._open_shards.get(index)
        # Each pass over a shard checks once that its file is still the same.
        if shard is None or (is_begun and shard.is_replaced()):
            shard = _OpenShard(self._paths[index], self._shards[index])
            with self._lock:
                before = self._identities.setdefault(index, shard.identity)
                if before != shard.identity:
                    # Other threads keep using the bounds of the earlier file.
                    self._identities[index] = shard.identity
                    bounds = self._bounds.copy()
                    bounds[self._slice(index)] = -1
                    self._bounds = bounds
                self._open_shards[index] = shard
                if len(self._open_shards) > self._max_open:
                    del self._open_shards[next(iter(self._open_shards))]
        return shard


class _OpenShard:
    """An open file of a shard.

    Attributes:
        file: Descriptor of the file, closed with this object.
        identity: Numbers that differ from the identity of any other file, and from this
            file's identity after a change.
    """

    def __init__(self, path: str, info: contract.ShardInfo) -> None:
        """Opens the file.

        Raises:
            DamageError: If the file cannot be opened, or has another size.
            OpenFilesError: If this process may not open more files.
        """
        self._path = path
        self._info = info
        self._lock = threading.Lock()
        try:
            self.file = os.open(path, os.O_RDONLY)
        except OSError as error:
            if limits.is_out_of_files(error):
                raise OpenFilesError(limits.out_of_files_text(error)) from error
            raise _unreadable(path, error) from error
        stat = os.fstat(self.file)
        self.identity = _identity(stat)
        if stat.st_size != info.num_bytes:
            raise DamageError(
                f"shard {path} has {stat.st_size} bytes, and its manifest says "
                f"{info.num_bytes}"
            )

    def __del__(self) -> None:
        if hasattr(self, "file"):
            os.close(self.file)

    def is_replaced(self) -> bool:
        """Returns whether the file was replaced or changed since it was opened."""
        try:
            return _identity(os.stat(self._path)) != self.identity
        except OSError as error:
            raise _unreadable(self._path, error) from error

    def find(self, record: int, bounds: np.ndarray) -> None:
        """Reads the headers up to a record's header.

        Args:
            record: Index of the record.
            bounds: `[records + 1]` int64: offset of each frame, and end of the last
                frame; negative if unknown. The call fills in all offsets up to the end
                of the record.
        """
        with self._lock:
            bounds[0] = 0
            for at in range(np.count_nonzero(bounds >= 0) - 1, record + 1):
                bounds[at + 1] = self._end_of(at, int(bounds[at]))

    def _end_of(self, record: int, start: int) -> int:
        head = self.read(start, _HEAD.size)
        if len(head) < _HEAD.size:
            raise self.error(record, "is cut off")
        length, length_crc = _HEAD.unpack(head)
        if masked(google_crc32c.value(head[:_LENGTH_BYTES])) != length_crc:
            raise self.error(record, "has a damaged header")
        end = start + _HEAD.size + length + CRC_BYTES
        if end > self._info.num_bytes:
            raise self.error(record, "is cut off")
        if (record + 1 == self._info.num_examples) != (end == self._info.num_bytes):
            raise self.error(
                record,
                f"ends at byte {end} of {self._info.num_bytes}, but is record "
                f"{record + 1} of {self._info.num_examples}",
            )
        return end

    def read(self, start: int, num_bytes: int) -> bytes:
        """Returns `num_bytes` bytes from an offset, or fewer at the end of the file."""
        try:
            return os.pread(self.file, num_bytes, start)
        except OSError as error:
            raise _unreadable(self._path, error) from error

    def error(self, record: int, text: str) -> DamageError:
        """Returns the error to raise for a record."""
        return DamageError(f"record {record} of shard {self._path} {text}")


@dataclasses.dataclass(frozen=True)
class Frames:
    """Positions of records in their files.

    Attributes:
        places: `[batch, 2]` int64: index of a shard, and index of a record in the
            shard.
        shards: Open shards by index; they stay open as long as this object exists.
        starts: `[batch]` int64: offset of each record in its file.
        lengths: `[batch]` int64: size of each record in bytes.
    """

    places: np.ndarray
    shards: Mapping[int, _OpenShard]
    starts: np.ndarray
    lengths: np.ndarray

    @property
    def files(self) -> np.ndarray:
        """`[batch]` int64: file descriptor of each record's shard."""
        files = np.empty(max(self.shards) + 1, np.int64)
        for index, shard in self.shards.items():
            files[index] = shard.file
        return files[self.places[:, 0]]

    def read(self, number: int) -> tuple[bytes, int]:
        """Returns a record of the batch, and its checksum.

        Raises:
            DamageError: If the record differs from the data that was written.
        """
        start, length = int(self.starts[number]), int(self.lengths[number])
        shard = self.shards[int(self.places[number, 0])]
        frame = shard.read(start, length + CRC_BYTES)
        if len(frame) < length + CRC_BYTES:
            raise self.error(number, "is cut off")
        data, crc = frame[:length], int.from_bytes(frame[length:], "little")
        if masked(google_crc32c.value(data)) != crc:
            raise self.error(number, "has a wrong checksum")
        return data, crc

    def error(self, number: int, text: str) -> DamageError:
        """Returns the error to raise for a record of the batch."""
        index, record = self.places[number].tolist()
        return self.shards[index].error(record, text)


def masked(crc: int) -> int:
    """Returns a CRC-32C in the form that TFRecord files store."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _unreadable(path: str, error: OSError) -> DamageError:
    return DamageError(f"shard {path} cannot be read: {error.strerror}")


def _identity(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
