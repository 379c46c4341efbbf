"""Reads and checks records by their places, and separates arrays from other features.

record: Example {features {entry of "attributes"} {of "image"} {of "key"} …}

The image is most of a record. A compiled loop reads the records once a reader has read
enough batches to repay the compilation. Then the operating system copies images
straight into the batch, and only the checksum reads them there.
"""

import contextlib
import dataclasses
import itertools
import math
import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipeline import contract
from trainer.data import serialized
from trainer.data.shard_files import DamageError, Frames, ShardFiles

# Number of batches before the loop is compiled. The compilation competes for Python's
# lock for a second, so it waits until a run has started and short runs have ended.
COMPILED_AFTER = 100

# Alignment in bytes: TensorFlow takes an aligned array without a copy.
_ALIGNMENT = 64
# Extra trailing bytes that a record may have over the previous record.
_SLACK = 32


class RecordReader:
    """Reads records by their places, from any number of threads.

    Attributes:
        arrays: Features that records hold as the bytes of an array, by name.
    """

    def __init__(
        self,
        paths: Sequence[str],
        shards: Sequence[contract.ShardInfo],
        features: Mapping[str, contract.Feature],
    ) -> None:
        """Stores the arguments, and opens no file yet.

        Args:
            paths: Paths of the shards.
            shards: Manifest entries of the shards.
            features: Features of a record, by name.
        """
        self._files = ShardFiles(paths, shards)
        self.arrays = {
            # Records hold their features in this order, sorted by name.
            name: features[name]
            for name in sorted(features)
            if name in contract.RAW_FEATURES
        }
        self._marks = [
            serialized.mark(name, _num_bytes(feature))
            for name, feature in self.arrays.items()
        ]
        # Number of bytes to read before the last array, with its mark, and after it.
        # `_read_any` takes them from its latest record, because most records are alike.
        self._likely = 0, 0
        self._num_batches = itertools.count(1)
        self._loop: Callable[..., None] | None = None

    def read(self, places: np.ndarray) -> "Records":
        """Returns the records at the given places.

        Args:
            places: `[batch, 2]` int64: index of a shard, and index of a record in the
                shard.

        Raises:
            DamageError: If a file differs from the manifest, or a record is damaged or
                lacks an array; the text names the shard and the record.
            OpenFilesError: If this process may not open more files.
        """
        if next(self._num_batches) == COMPILED_AFTER and len(self.arrays) == 1:
            threading.Thread(target=self.compile).start()
        num, loop, (num_before, num_after) = len(places), self._loop, self._likely
        columns = [_empty(num, one) for one in self.arrays.values()]
        before = np.empty((num, num_before), np.uint8)
        after = np.empty((num, num_after), np.uint8)
        lengths, crcs = np.empty(num, np.int64), np.full(num, -1, np.int64)
        mark = np.frombuffer(bytearray(self._marks[-1]), np.uint8)
        others = {}
        for part in self._files.parts(places):
            frames = self._files.find(places[part])
            lengths[part] = frames.lengths
            slices = [column[part] for column in columns]
            if loop:
                where = frames.files, frames.starts, frames.lengths
                loop(*where, mark, before[part], slices[0], after[part], crcs[part])
            for at in np.flatnonzero(crcs[part] < 0).tolist():
                crc, rest = self._read_any(frames, at, [each[at] for each in slices])
                crcs[part.start + at], others[part.start + at] = crc, rest
            # Close this part's files before the next part opens its own.
            del frames
        alike = None
        if loop:
            end = num_before + columns[0].shape[1]
            alike = _Alike(before[:, : -len(mark)], end, after)
        arrays = {
            name: column.view(one.dtype).reshape(-1, *one.shape)
            for (name, one), column in zip(self.arrays.items(), columns, strict=True)
        }
        return Records(arrays, crcs, lengths, places, self._files, alike, others)

    def compile(self) -> None:
        """Compiles the loop that reads all later batches, if this machine can."""
        with contextlib.suppress(ImportError, AttributeError, OSError):
            from trainer.data import compiled_reader

            self._loop = compiled_reader.compiled()

    def _read_any(
        self, frames: Frames, number: int, arrays: list[np.ndarray]
    ) -> tuple[int, bytes]:
        """Fills `arrays` with the arrays of a record.

        Returns:
            The checksum of the record, and its other features as a serialized
            `Example`.
        """
        data, crc = frames.read(number)
        opening = serialized.opening(len(data))
        if not data.startswith(opening):
            raise frames.error(number, "is not a tf.train.Example")
        parts, at = [], len(opening)
        for name, mark, array in zip(self.arrays, self._marks, arrays, strict=True):
            mark_at = data.find(mark, at)
            begin = mark_at + len(mark)
            if mark_at < 0 or begin + len(array) > len(data):
                raise frames.error(number, f"has no {name} of {len(array)} bytes")
            array[:] = np.frombuffer(data, np.uint8, len(array), begin)
            parts.append(data[at:mark_at])
            at = begin + len(array)
            self._likely = begin, len(data) - at + _SLACK
        return crc, serialized.example(*parts, data[at:])


@dataclasses.dataclass(frozen=True)
class Records:
    """Records of a batch.

    Attributes:
        arrays: Values of each feature that is an array in the records, `[batch,
            ...]` of its type.
        crcs: `[batch]` int64: checksums of the records.
        lengths: `[batch]` int64: sizes of the records in bytes.
        places: `[batch, 2]` int64: index of a shard, and index of a record in the
            shard.
        files: Files of the shards.
        alike: Bytes besides the array, for the records that the loop read; or None.
        others: Features besides the arrays as a serialized `Example`, for each record
            that the loop did not read, by the record's number in the batch.
    """

    arrays: dict[str, np.ndarray]
    crcs: np.ndarray
    lengths: np.ndarray
    places: np.ndarray
    files: ShardFiles
    alike: "_Alike | None"
    others: Mapping[int, bytes]

    def rests(self) -> list[bytes]:
        """Returns each record without its arrays, as a serialized `Example`.

        Raises:
            DamageError: If a record is not an `Example`.
        """
        return [self._rest(number) for number in range(len(self.crcs))]

    def _rest(self, number: int) -> bytes:
        if self.alike is None or number in self.others:
            return self.others[number]
        length = int(self.lengths[number])
        opening = serialized.opening(length)
        head = self.alike.before[number].tobytes()
        tail = self.alike.after[number, : length - self.alike.end].tobytes()
        if not head.startswith(opening):
            raise self.error(number, "is not a tf.train.Example")
        return serialized.example(head[len(opening) :], tail)

    def error(self, number: int, text: str) -> DamageError:
        """Returns the error to raise for a record of the batch."""
        return self.files.error(self.places[number], text)


@dataclasses.dataclass(frozen=True)
class _Alike:
    """Bytes around the array, in records whose array has the same offset.

    Attributes:
        before: `[batch, any]` uint8: bytes before the array's mark.
        end: Offset of the array's end in a record.
        after: `[batch, any]` uint8: bytes after the array, some beyond the record.
    """

    before: np.ndarray
    end: int
    after: np.ndarray


def _num_bytes(feature: contract.Feature) -> int:
    return math.prod(feature.shape) * np.dtype(feature.dtype).itemsize


def _empty(num_rows: int, feature: contract.Feature) -> np.ndarray:
    """Returns `[num_rows, bytes of the feature]` uint8, aligned for TensorFlow."""
    num_bytes = num_rows * _num_bytes(feature)
    memory = np.empty(num_bytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + num_bytes].reshape(num_rows, -1)
