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
from trainer.data import serialized
from trainer.data.shard_files import DamageError, Frames, ShardFiles

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
            OpenFilesError: If this process may not open a file.
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
            # Its files are closed before others are opened.
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
        """Has a compiled loop read from now on, where there can be one."""
        with contextlib.suppress(ImportError, AttributeError, OSError):
            from trainer.data import compiled_reader

            self._loop = compiled_reader.compiled()

    def _read_any(
        self, frames: Frames, number: int, arrays: list[np.ndarray]
    ) -> tuple[int, bytes]:
        """Fills `arrays` with those of a record.

        Returns:
            Its checksum, and a serialized `Example` of what else it has.
        """
        data, crc = frames.read(number)
        opening = serialized.opening(len(data))
        if not data.startswith(opening):
            raise frames.error(number, "is no Example")
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
        arrays: Of each feature that records hold as the bytes of an array, `[batch,
            ...]` of its type.
        crcs: `[batch]` int64: their checksums.
        lengths: `[batch]` int64: their bytes.
        places: `[batch, 2]` int64: the index of a shard, and of a record in it.
        files: Of the shards.
        alike: What those have that the loop read.
        others: What each other has, as a serialized `Example`.
    """

    arrays: dict[str, np.ndarray]
    crcs: np.ndarray
    lengths: np.ndarray
    places: np.ndarray
    files: ShardFiles
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
        length = int(self.lengths[number])
        opening = serialized.opening(length)
        head = self.alike.before[number].tobytes()
        tail = self.alike.after[number, : length - self.alike.end].tobytes()
        if not head.startswith(opening):
            raise self.error(number, "is no Example")
        return serialized.example(head[len(opening) :], tail)

    def error(self, number: int, text: str) -> DamageError:
        """Returns what to raise of one of them."""
        return self.files.error(self.places[number], text)


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
