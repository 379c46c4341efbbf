"""Records of shards, read by their places and checked; their arrays, and the rest.

record: Example {features {entry of "attributes"} {of "image"} {of "key"} …}

An image is most of its record: the kernel copies it into the batch, where its checksum
is taken, and nothing else touches it. A compiled loop does that, once a reader is used
so much that it is worth its while.
"""

import contextlib
import dataclasses
import itertools
import math
import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipeline import contract
from trainer import serialized
from trainer.shard_files import DamageError, Frames, ShardFiles

# Batches before the loop is compiled, which for a second takes Python's time from the
# run: it has started then, and short ones end before.
COMPILED_AFTER = 100

# TensorFlow takes over, and does not copy, an array that begins at a multiple of it.
_ALIGNMENT = 64
# By how many bytes more than the one before a record may have after its array.
_SLACK = 32


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
        self._files = ShardFiles(paths, shards)
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
        # Of a record that was read: how many bytes came before its last array, with the
        # mark, and after it. Most others are like it.
        self._likely = 0, 0
        self._num_batches = itertools.count(1)
        self._loop: Callable[..., None] | None = None

    def read(self, places: np.ndarray) -> "Records":
        """Returns records.

        Args:
            places: `[batch, 2]` int64: the index of a shard, and of a record in it.

        Raises:
            DamageError: If a file is not what the manifest says, or a record
                is damaged, or has no such arrays; both are named.
        """
        if next(self._num_batches) == COMPILED_AFTER and len(self.arrays) == 1:
            threading.Thread(target=self.compile).start()
        frames = self._files.find(places)
        columns = [_empty(len(places), one) for one in self.arrays.values()]
        if self._loop:
            crcs, alike = self._read_alike(self._loop, frames, columns[0])
        else:
            crcs, alike = np.full(len(places), -1, np.int64), None
        others = {}
        for number in np.flatnonzero(crcs < 0).tolist():
            rows = [column[number] for column in columns]
            crcs[number], others[number] = self._read_any(frames, number, rows)
        arrays = {
            name: column.view(one.dtype).reshape(-1, *one.shape)
            for (name, one), column in zip(self.arrays.items(), columns, strict=True)
        }
        return Records(arrays, crcs, frames, alike, others)

    def compile(self) -> None:
        """Has a compiled loop read from now on, where there can be one."""
        with contextlib.suppress(ImportError, AttributeError, OSError):
            from trainer import read_loop

            self._loop = read_loop.compiled()

    def _read_alike(
        self, loop: Callable[..., None], frames: Frames, rows: np.ndarray
    ) -> tuple[np.ndarray, "_Alike"]:
        """Fills the rows of records whose array is where that of one before was.

        Returns:
            Their checksums, and what else they have; a negative number for others,
            sound or not.
        """
        num, (num_before, num_after) = len(rows), self._likely
        before = np.empty((num, num_before), np.uint8)
        after = np.empty((num, num_after), np.uint8)
        crcs = np.empty(num, np.int64)
        [mark] = self._marks
        mark = np.frombuffer(bytearray(mark), np.uint8)
        places = frames.files, frames.starts, frames.lengths
        loop(*places, mark, before, rows, after, crcs)
        return crcs, _Alike(before[:, : -len(mark)], rows.shape[1] + num_before, after)

    def _read_any(
        self, frames: Frames, number: int, rows: list[np.ndarray]
    ) -> tuple[int, bytes]:
        """Fills the rows with the arrays of a record.

        Returns:
            Its checksum, and a serialized `Example` of what else it has.
        """
        data, crc = frames.read(number)
        opening = serialized.opening(len(data))
        if not data.startswith(opening):
            raise frames.error(number, "is no Example")
        parts, at = [], len(opening)
        for name, mark, row in zip(self.arrays, self._marks, rows, strict=True):
            found = data.find(mark, at)
            begin = found + len(mark)
            if found < 0 or begin + len(row) > len(data):
                raise frames.error(number, f"has no {name} of {len(row)} bytes")
            row[:] = np.frombuffer(data, np.uint8, len(row), begin)
            parts.append(data[at:found])
            at = begin + len(row)
            self._likely = begin, len(data) - at + _SLACK
        return crc, serialized.example(*parts, data[at:])


@dataclasses.dataclass(frozen=True)
class Records:
    """Records of a batch.

    Attributes:
        arrays: Of each feature that records hold as the bytes of an array, `[batch,
            ...]` of its type.
        crcs: `[batch]` int64: their checksums.
        frames: Where they are.
        alike: What those have that the loop read.
        others: What each other has, as a serialized `Example`.
    """

    arrays: dict[str, np.ndarray]
    crcs: np.ndarray
    frames: Frames
    alike: "_Alike | None"
    others: Mapping[int, bytes]

    def rests(self) -> list[bytes]:
        """Returns of each a serialized `Example` of all but the arrays.

        Raises:
            DamageError: If a record is none.
        """
        return [self._rest(number) for number in range(len(self.crcs))]

    def _rest(self, number: int) -> bytes:
        if self.alike is None or number in self.others:
            return self.others[number]
        length = int(self.frames.lengths[number])
        opening = serialized.opening(length)
        head = self.alike.before[number].tobytes()
        tail = self.alike.after[number, : length - self.alike.end].tobytes()
        if not head.startswith(opening):
            raise self.frames.error(number, "is no Example")
        return serialized.example(head[len(opening) :], tail)

    def error(self, number: int, text: str) -> DamageError:
        """Returns what to raise of one of them."""
        return self.frames.error(number, text)


@dataclasses.dataclass(frozen=True)
class _Alike:
    """What records have besides an array that is at the same place in all.

    Attributes:
        before: `[batch, any]` uint8: what precedes its mark.
        end: Where it ends.
        after: `[batch, any]` uint8: what follows it, and more.
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
