"""Order of records in training: a pure function of (dataset, seed, batch size, step).

Every epoch takes each record once. The shards are permuted and cut into windows of up
to `MAX_WINDOW_SHARDS` shards; the records of a window are permuted together. A dataset
of one window is shuffled uniformly. All permutations are stateless, so arithmetic gives
the records of any step. A global batch takes the next records, whatever their epoch.
"""

import bisect
import functools
import threading
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from trainer.data import lanes
from trainer.numerics.permutations import permutation
from trainer.numerics.streams import OrderStream

# Bounds of a window: open files, and the memory and time that its permutation needs.
# 1 Mi records need 24 MiB.
MAX_WINDOW_SHARDS = 256
MAX_WINDOW_RECORDS = 2**20


class Order(Protocol):
    """Order of the records of a run."""

    def places(self, step: int, first: int, stop: int) -> np.ndarray:
        """Returns the places of records `first` to `stop` of a step's global batch.

        Returns:
            `[stop - first, 2]` int64: index of a shard, and index of a record in the
            shard.
        """
        ...


def make_order(
    num_examples: Sequence[int],
    fewest_shards: int,
    *,
    seed: int,
    global_batch_size: int,
    block_size: int,
) -> Order:
    """Returns the order of a run.

    Args:
        num_examples: Number of examples in each shard, all positive.
        fewest_shards: Number of shards in the smallest split; it limits the lanes,
            because each lane gets shards of every split.
        seed: Seed of the run.
        global_batch_size: Examples per step over all replicas.
        block_size: Records that lanes permute together; 0 for windows.
    """
    if not block_size:
        return Shuffle(num_examples, seed=seed, global_batch_size=global_batch_size)
    return lanes.LaneShuffle(
        num_examples,
        # Images that were rejected may have left shards without examples.
        lanes.num_lanes(global_batch_size, min(fewest_shards, len(num_examples))),
        seed=seed,
        global_batch_size=global_batch_size,
        block_size=block_size,
    )


def in_turn(num_examples: Sequence[int], first: int, stop: int) -> np.ndarray:
    """Returns the places of records in the order on disk, which repeats after the last.

    Args:
        num_examples: Number of examples in each shard, all positive.
        first: Number of the first record, counted over all shards.
        stop: Number after the last record.

    Returns:
        `[stop - first, 2]` int64: index of a shard, and index of a record in the shard.

    Example:
        >>> in_turn([2, 3], first=1, stop=6).tolist()
        [[0, 1], [1, 0], [1, 1], [1, 2], [0, 0]]
    """
    sizes = np.asarray(num_examples)
    return _places(np.arange(first, stop) % sizes.sum(), sizes)


class Shuffle:
    """Order that shuffles the records of many shards together."""

    def __init__(
        self,
        num_examples: Sequence[int],
        *,
        seed: int,
        global_batch_size: int,
        max_window_shards: int = MAX_WINDOW_SHARDS,
        max_window_records: int = MAX_WINDOW_RECORDS,
    ) -> None:
        """Decides the number of windows.

        Args:
            num_examples: Number of examples in each shard, all positive.
            seed: Seed of the run.
            global_batch_size: Examples per step over all replicas.
            max_window_shards: Largest number of shards in a window.
            max_window_records: Mean number of records that windows may have, unless
                they are single shards.
        """
        self._num_examples = np.asarray(num_examples)
        self._epoch_size = int(self._num_examples.sum())
        self._seed, self._global_batch_size = seed, global_batch_size
        num_windows = max(
            -(-len(num_examples) // max_window_shards),
            -(-self._epoch_size // max_window_records),
        )
        self._num_windows = min(num_windows, len(num_examples))
        # Keep two of each, because a batch may begin in one window and end in the next.
        self._epoch = functools.lru_cache(2)(self._make_epoch)
        self._window = functools.lru_cache(2)(self._make_window)
        self._lock = threading.Lock()

    def places(self, step: int, first: int, stop: int) -> np.ndarray:
        """Returns the places of records of a step; see `Order.places`."""
        first += step * self._global_batch_size
        stop += step * self._global_batch_size
        parts = []
        while first < stop:
            parts.append(self._run_of_places(first, stop - first))
            first += len(parts[-1])
        return np.concatenate(parts)

    def _run_of_places(self, number: int, most: int) -> np.ndarray:
        """Returns places from a record's number on, up to the end of its window."""
        epoch, place = divmod(number, self._epoch_size)
        # One thread permutes a window, and the others wait for the result.
        with self._lock:
            ends = self._epoch(epoch)[1]
            index = bisect.bisect_right(ends, place)
            shards, order = self._window(epoch, index)
        start = ends[index] - len(order)
        sizes = self._num_examples[shards]
        places = _places(order[place - start : place - start + most], sizes)
        places[:, 0] = shards[places[:, 0]]
        return places

    def _make_epoch(self, epoch: int) -> tuple[list[np.ndarray], list[int]]:
        """Returns each window's shards, and the number of records up to its end."""
        order = permutation(
            len(self._num_examples), (self._seed, OrderStream.WINDOW_SHARDS), (epoch,)
        )
        windows = np.array_split(order, self._num_windows)
        sizes = [self._num_examples[shards].sum() for shards in windows]
        return windows, np.cumsum(sizes).tolist()

    def _make_window(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the shards of a window, and its records by number in a new order."""
        shards = self._epoch(epoch)[0][index]
        order = permutation(
            int(self._num_examples[shards].sum()),
            (self._seed, OrderStream.WINDOW_RECORDS),
            (epoch, index),
        )
        return shards, order


def _places(numbers: np.ndarray, num_examples: np.ndarray) -> np.ndarray:
    """Returns the places of records by their numbers, counted over the shards in turn.

    Args:
        numbers: `[records]` int64.
        num_examples: Number of examples in each shard.
    """
    ends = np.cumsum(num_examples)
    shards = np.searchsorted(ends, numbers, side="right")
    return np.stack([shards, numbers - (ends - num_examples)[shards]], axis=1)
