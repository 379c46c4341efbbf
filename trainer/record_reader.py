"""Records of shards, read by their places and checked; their arrays, and the rest.

shard:  record after record, as [length u64 | its CRC u32 | record | its CRC u32]
record: Example {features {entry of "attributes"} {of "image"} {of "key"} …}

An image is most of its record: the kernel copies it into the batch, where its checksum
is taken, and nothing else touches it.
"""

import array
import math
import os
import struct
import threading
from collections.abc import Mapping, Sequence

import google_crc32c
import numpy as np

from pipeline import contract
from trainer import serialized

# Beyond it files are closed, and the places in them forgotten.
MAX_OPEN_SHARDS = 256

_HEAD = struct.Struct("<QI")
_LENGTH_BYTES, _CRC_BYTES = 8, 4
# TensorFlow takes over, and does not copy, an array that begins at a multiple of it.
_ALIGNMENT = 64
# By how many bytes more than the one before a record may have after its array.
_SLACK = 32


class DamageError(contract.DatasetError):
    """A shard or a record in it is not what was written; the text names it."""


class RecordReader:
    """Reads records by their places; any number of threads may.

    Attributes:
        arrays: The features that records hold as the bytes of an array, by name.
    """

    def __init__(
        self,
        paths: Sequence[str],
        shards: Sequence[contract.ShardInfo],
        features: Mapping[str, contract.Feature],
    ) -> None:
        """Opens nothing yet.

        Args:
            paths: Of the shards.
            shards: What each of them holds.
            features: Of a record.
        """
        self._paths = paths
        self._shards = shards
        self.arrays = {
            # In their order in a record.
            name: features[name]
            for name in sorted(features)
            if name in contract.RAW_FEATURES
        }
        self._marks = [
            serialized.mark(name, _num_bytes(feature))
            for name, feature in self.arrays.items()
        ]
        # Of a record that was read: where its array began, if it has one, and how many
        # bytes came after it. Most others are like it.
        self._likely_begin, self._likely_after = 0, 0
        self._open_shards: dict[int, _OpenShard] = {}
        self._lock = threading.Lock()

    def read(self, places: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Returns the features of records.

        Args:
            places: `[batch, 2]` int64: the index of a shard, and of a record in it.

        Returns:
            Of each feature that records hold as the bytes of an array, `[batch, ...]`
            of its type; and `[batch]` `bytes`, each a serialized `Example` of the rest.

        Raises:
            DamageError: If a file is not what the manifest says, or a record
                is damaged, or has no such arrays; both are named.
        """
        columns = [_empty(len(places), one) for one in self.arrays.values()]
        frames = [self._frame(index, record) for index, record in places.tolist()]
        rests = np.full(len(places), None, object)
        if len(columns) == 1:
            self._read_alike(frames, columns[0], rests)
        for number, frame in enumerate(frames):
            if rests[number] is None:
                rows = [column[number] for column in columns]
                rests[number] = self._read_any(frame, rows)
        arrays = {
            name: column.view(one.dtype).reshape(-1, *one.shape)
            for (name, one), column in zip(self.arrays.items(), columns, strict=True)
        }
        return arrays, rests

    def _frame(self, index: int, record: int) -> "_Frame":
        shard = self._open_shards.get(index)
        # Each pass over a shard looks once whether its file is still the same.
        if shard is None or (record == 0 and shard.is_replaced()):
            shard = _OpenShard(self._paths[index], self._shards[index])
            with self._lock:
                self._open_shards[index] = shard
                if len(self._open_shards) > MAX_OPEN_SHARDS:
                    del self._open_shards[next(iter(self._open_shards))]
        return (shard, record, *shard.place(record))

    def _read_alike(
        self, frames: "Sequence[_Frame]", rows: np.ndarray, rests: np.ndarray
    ) -> None:
        """Fills in those records whose array is where that of one before was.

        All are read before the first is looked at: for as long as a thread checks, no
        other has Python's lock, and each read needs it twice.
        """
        begin, num_after = self._likely_begin, self._likely_after
        size, mark = rows.shape[1], self._marks[0]
        before = np.empty((len(rows), begin), np.uint8)
        after = np.empty((len(rows), num_after), np.uint8)
        num_read = [
            shard.read(buffers, start)
            for (shard, _, start, _), *buffers in zip(
                frames, before, rows, after, strict=True
            )
        ]
        all_before, all_after = before.tobytes(), after.tobytes()
        extend = google_crc32c.extend
        for number, (shard, record, _, length) in enumerate(frames):
            opening, num_tail = serialized.opening(length), length - begin - size
            head = all_before[number * begin : (number + 1) * begin]
            end = number * num_after + num_tail
            if (
                head.startswith(opening)
                and head.endswith(mark)
                and 0 <= num_tail <= num_after - _CRC_BYTES
            ):
                tail = all_after[number * num_after : end]
                crc = extend(extend(extend(0, head), rows[number]), tail)
                is_whole = num_read[number] >= length + _CRC_BYTES
                shard.check(record, crc, all_after[end : end + _CRC_BYTES], is_whole)
                rests[number] = serialized.example(
                    head[len(opening) : -len(mark)], tail
                )

    def _read_any(self, frame: "_Frame", rows: list[np.ndarray]) -> bytes:
        """Fills the rows with the arrays of a record, and returns what else it has."""
        shard, record, start, length = frame
        whole = np.empty(length + _CRC_BYTES, np.uint8)
        num_read = shard.read([whole], start)
        data, footer = whole[:length].tobytes(), whole[length:].tobytes()
        crc = google_crc32c.value(data)
        shard.check(record, crc, footer, num_read == len(whole))
        opening = serialized.opening(length)
        if not data.startswith(opening):
            raise shard.error(record, "is no Example")
        parts, at = [], len(opening)
        for name, mark, row in zip(self.arrays, self._marks, rows, strict=True):
            found = data.find(mark, at)
            begin = found + len(mark)
            if found < 0 or begin + len(row) > length:
                raise shard.error(record, f"has no {name} of {len(row)} bytes")
            row[:] = np.frombuffer(data, np.uint8, len(row), begin)
            parts.append(data[at:found])
            at = begin + len(row)
            self._likely_begin, self._likely_after = begin, length - at + _SLACK
        return serialized.example(*parts, data[at:])


class _OpenShard:
    """An open file, and where its records are, as far as anyone asked.

    Attributes:
        file: Its descriptor, closed with this object.
    """

    def __init__(self, path: str, info: contract.ShardInfo) -> None:
        self._path = path
        self._info = info
        self._lock = threading.Lock()
        # Where each record's frame begins, and the last known of them ends.
        self._frames = array.array("q", [0])
        try:
            self.file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise _unreadable(path, error) from error
        self._identity = _identity(os.fstat(self.file))
        num_bytes = os.fstat(self.file).st_size
        if num_bytes != info.num_bytes:
            raise DamageError(
                f"shard {path} has {num_bytes} bytes, and its manifest says "
                f"{info.num_bytes}"
            )

    def __del__(self) -> None:
        if hasattr(self, "file"):
            os.close(self.file)

    def is_replaced(self) -> bool:
        """Returns whether its path leads to another file, or one that was changed."""
        try:
            return _identity(os.stat(self._path)) != self._identity
        except OSError as error:
            raise _unreadable(self._path, error) from error

    def place(self, record: int) -> tuple[int, int]:
        """Returns where a record begins, and its length; reads headers up to it."""
        if record + 1 >= len(self._frames):
            with self._lock:
                while record + 1 >= len(self._frames):
                    self._frames.append(self._end_of(len(self._frames) - 1))
        start = self._frames[record]
        length = self._frames[record + 1] - start - _HEAD.size - _CRC_BYTES
        return start + _HEAD.size, length

    def _end_of(self, record: int) -> int:
        start = self._frames[record]
        buffer = np.empty(_HEAD.size, np.uint8)
        if self.read([buffer], start) < _HEAD.size:
            raise self.error(record, "is cut off")
        head = buffer.tobytes()
        length, length_crc = _HEAD.unpack(head)
        if _masked(google_crc32c.value(head[:_LENGTH_BYTES])) != length_crc:
            raise self.error(record, "has a damaged header")
        end = start + _HEAD.size + length + _CRC_BYTES
        if end > self._info.num_bytes:
            raise self.error(record, "is cut off")
        if (record + 1 == self._info.num_examples) != (end == self._info.num_bytes):
            raise self.error(
                record,
                f"is number {record + 1} of {self._info.num_examples}, and ends at "
                f"byte {end} of {self._info.num_bytes}",
            )
        return end

    def read(self, buffers: Sequence[np.ndarray], start: int) -> int:
        """Fills buffers with what is at a place, and returns how much there is."""
        try:
            return os.preadv(self.file, buffers, start)
        except OSError as error:
            raise _unreadable(self._path, error) from error

    def check(self, record: int, crc: int, footer: bytes, is_whole: bool) -> None:
        """Checks what was read of a record.

        Args:
            record: Its index.
            crc: Of the record.
            footer: Its CRC as the file has it.
            is_whole: Whether there was as much to read as there should be.

        Raises:
            DamageError: If it is not what was written.
        """
        if not is_whole:
            raise self.error(record, "is cut off")
        if _masked(crc) != int.from_bytes(footer, "little"):
            raise self.error(record, "has a wrong checksum")

    def error(self, record: int, text: str) -> DamageError:
        """Returns what to raise of a record."""
        return DamageError(f"record {record} of shard {self._path} {text}")


# A shard, the index of a record in it, where that begins, and its length.
_Frame = tuple[_OpenShard, int, int, int]


def _unreadable(path: str, error: OSError) -> DamageError:
    return DamageError(f"shard {path} cannot be read: {error.strerror}")


def _identity(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _num_bytes(feature: contract.Feature) -> int:
    return math.prod(feature.shape) * np.dtype(feature.dtype).itemsize


def _empty(num_rows: int, feature: contract.Feature) -> np.ndarray:
    """Returns `[num_rows, bytes of the feature]` uint8, aligned for TensorFlow."""
    num_bytes = num_rows * _num_bytes(feature)
    memory = np.empty(num_bytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + num_bytes].reshape(num_rows, -1)


def _masked(crc: int) -> int:
    """Returns a CRC-32C as TFRecord files store it."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
