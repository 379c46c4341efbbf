"""Records of shards, read by their places and checked; their arrays, and the rest.

shard:  record after record, as [length u64 | its CRC u32 | record | its CRC u32]
record: Example {features {entry of "attributes"} {of "image"} {of "key"} …}

An image is most of its record: the kernel copies it into the batch, where its checksum
is taken, and nothing else touches it.
"""

import array
import functools
import math
import os
import struct
import threading
from collections.abc import Mapping, Sequence

import google_crc32c
import numpy as np

from pipeline import contract

# Beyond it files are closed, and the places in them forgotten.
MAX_OPEN_SHARDS = 256

_HEAD = struct.Struct("<QI")
_LENGTH_BYTES, _CRC_BYTES = 8, 4
# TensorFlow takes over, and does not copy, an array that begins at a multiple of it.
_ALIGNMENT = 64
# Tags of the length-delimited fields number 1 and 2.
_FIELD_1, _FIELD_2 = b"\x0a", b"\x12"


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
            _mark(name, _num_bytes(feature)) for name, feature in self.arrays.items()
        ]
        # Where the array of the record before began, if it has one: so does the next's.
        self._likely_begin = 0
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
        rests = np.empty(len(places), object)
        for number, (index, record) in enumerate(places.tolist()):
            rows = [column[number] for column in columns]
            try:
                rests[number] = self._read(self._shard(index, record), record, rows)
            except OSError as error:
                raise DamageError(
                    f"shard {self._paths[index]} cannot be read: {error.strerror}"
                ) from error
        arrays = {
            name: column.view(one.dtype).reshape(-1, *one.shape)
            for (name, one), column in zip(self.arrays.items(), columns, strict=True)
        }
        return arrays, rests

    def _shard(self, index: int, record: int) -> "_OpenShard":
        shard = self._open_shards.get(index)
        # Each pass over a shard looks once whether its file is still the same.
        if shard is None or (record == 0 and shard.is_replaced()):
            shard = _OpenShard(self._paths[index], self._shards[index])
            with self._lock:
                self._open_shards[index] = shard
                if len(self._open_shards) > MAX_OPEN_SHARDS:
                    del self._open_shards[next(iter(self._open_shards))]
        return shard

    def _read(self, shard: "_OpenShard", record: int, rows: list[np.ndarray]) -> bytes:
        """Fills the rows with the arrays of a record, and returns what else it has."""
        start, length = shard.place(record)
        begin = self._likely_begin
        if len(rows) == 1 and length >= begin + len(rows[0]):
            before = np.empty(begin, np.uint8)
            after = np.empty(length + _CRC_BYTES - begin - len(rows[0]), np.uint8)
            num_read = os.preadv(shard.file, (before, rows[0], after), start)
            head, tail = before.tobytes(), after.tobytes()
            opening = _opening(length)
            if head.startswith(opening) and head.endswith(self._marks[0]):
                crc = google_crc32c.extend(google_crc32c.value(head), rows[0])
                crc = google_crc32c.extend(crc, tail)
                shard.check(record, crc, tail, num_read == length + _CRC_BYTES)
                head = head[len(opening) : -len(self._marks[0])]
                return _example(head, tail[:-_CRC_BYTES])
        data = os.pread(shard.file, length + _CRC_BYTES, start)
        is_whole = len(data) == length + _CRC_BYTES
        shard.check(record, google_crc32c.value(data), data, is_whole)
        return self._split(shard, record, data[:-_CRC_BYTES], rows)

    def _split(
        self, shard: "_OpenShard", record: int, data: bytes, rows: list[np.ndarray]
    ) -> bytes:
        opening = _opening(len(data))
        if not data.startswith(opening):
            raise shard.error(record, "is no Example")
        parts, start = [], len(opening)
        for name, mark, row in zip(self.arrays, self._marks, rows, strict=True):
            found = data.find(mark, start)
            begin = found + len(mark)
            if found < 0 or begin + len(row) > len(data):
                raise shard.error(record, f"has no {name} of {len(row)} bytes")
            row[:] = np.frombuffer(data, np.uint8, len(row), begin)
            parts.append(data[start:found])
            start = begin + len(row)
            self._likely_begin = begin
        return _example(*parts, data[start:])


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
        self.file = os.open(path, os.O_RDONLY)
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
        return _identity(os.stat(self._path)) != self._identity

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
        head = os.pread(self.file, _HEAD.size, start)
        if len(head) < _HEAD.size:
            raise self.error(record, "is cut off")
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

    def check(self, record: int, crc: int, data: bytes, is_whole: bool) -> None:
        """Checks what was read of a record.

        Args:
            record: Its index.
            crc: Of the record and its footer.
            data: Ends with the footer, which is the CRC of the record.
            is_whole: Whether there was as much to read as there should be.

        Raises:
            DamageError: If it is not what was written.
        """
        if not is_whole:
            raise self.error(record, "is cut off")
        footer = data[-_CRC_BYTES:]
        # To go on with the footer leads from one CRC of the record to one of both.
        expected = _unmasked(int.from_bytes(footer, "little"))
        if crc != google_crc32c.extend(expected, footer):
            raise self.error(record, "has a wrong checksum")

    def error(self, record: int, text: str) -> DamageError:
        """Returns what to raise of a record."""
        return DamageError(f"record {record} of shard {self._path} {text}")


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


def _unmasked(stored: int) -> int:
    rotated = stored - 0xA282EAD8 & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def _mark(name: str, num_bytes: int) -> bytes:
    """Returns what precedes the bytes of an array in a record, all but the opening.

    Source:
        tensorflow/core/example/feature.proto: an entry of the map `Features.feature`
        is a name and a `Feature`, that a `BytesList`.
    """
    head = b""
    for tag in (_FIELD_1, _FIELD_1, _FIELD_2):
        head = tag + _varint(len(head) + num_bytes) + head
    head = _FIELD_1 + _varint(len(name.encode())) + name.encode() + head
    return _FIELD_1 + _varint(len(head) + num_bytes) + head


def _example(*entries: bytes) -> bytes:
    """Returns a serialized `Example` of the features whose entries these are.

    One after another, serialized messages are one with the fields of all.
    """
    return b"".join([part for some in entries for part in (_tagged(len(some)), some)])


@functools.lru_cache(maxsize=4096)
def _tagged(num_bytes: int) -> bytes:
    """Returns what precedes the entries of an `Example`."""
    return _FIELD_1 + _varint(num_bytes)


@functools.lru_cache(maxsize=4096)
def _opening(num_bytes: int) -> bytes:
    """Returns what an `Example` of so many bytes begins with."""
    size = 2
    while len(_tagged(max(num_bytes - size, 0))) > size:
        size += 1
    return _tagged(max(num_bytes - size, 0))


def _varint(value: int) -> bytes:
    """Returns a number in seven-bit groups, the lowest first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
