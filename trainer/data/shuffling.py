"""Which records a step sees: a pure function of (dataset, seed, batch size, step).

The shards of a split are dealt to lanes, and every global batch takes the same
number of records from each lane. A lane repeats on its own. In each epoch of a lane
its shards are permuted, and the records of a shard are permuted inside blocks. All
permutations are stateless, so the place of any step in any lane is arithmetic.
"""

import bisect
import threading
from collections.abc import Sequence

import numpy as np

from trainer.numerics.streams import OrderStream

MAX_LANES = 64


def num_lanes(global_batch_size: int, num_shards: int) -> int:
    """Returns the largest power of two that divides the batch and fits the shards.

    Raises:
        ValueError: If either argument is not positive.

    Example:
        >>> num_lanes(96, 64), num_lanes(64, 5), num_lanes(7, 64)
        (32, 4, 1)
    """
    if global_batch_size < 1 or num_shards < 1:
        raise ValueError(
            f"{global_batch_size} examples a batch and {num_shards} shards: "
            "both must be positive"
        )
    limit = min(num_shards, MAX_LANES)
    lanes = 1
    while global_batch_size % (2 * lanes) == 0 and 2 * lanes <= limit:
        lanes *= 2
    return lanes


def in_turn(num_examples: Sequence[int], first: int, stop: int) -> np.ndarray:
    """Returns the places of records in the order on disk, which is repeated.

    Args:
        num_examples: Of each shard, all positive.
        first: Number of the first record, counted over all shards.
        stop: Number after the last record.

    Returns:
        `[stop - first, 2]` int64: the index of a shard, and of a record in it.

    Example:
        >>> in_turn([2, 3], first=1, stop=6).tolist()
        [[0, 1], [1, 0], [1, 1], [1, 2], [0, 0]]
    """
    ends = np.cumsum(num_examples)
    numbers = np.arange(first, stop) % ends[-1]
    shards = np.searchsorted(ends, numbers, side="right")
    starts = ends - np.asarray(num_examples)
    return np.stack([shards, numbers - starts[shards]], axis=1)


class Shuffle:
    """The records of every step."""

    def __init__(
        self,
        num_examples: Sequence[int],
        lanes: int,
        *,
        seed: int,
        global_batch_size: int,
        block_size: int,
    ) -> None:
        """Deals the shards.

        Args:
            num_examples: Of each shard, all positive.
            lanes: From `num_lanes`.
            seed: Of the run.
            global_batch_size: Examples per step over all replicas.
            block_size: Records that are permuted together.
        """
        self._lanes = [
            _Lane(num_examples, lane, lanes, seed, block_size) for lane in range(lanes)
        ]
        self._num_per_lane = global_batch_size // lanes

    def places(self, step: int, first: int, stop: int) -> np.ndarray:
        """Returns the places of records `first` to `stop` of a step's global batch.

        Returns:
            `[stop - first, 2]` int64: the index of a shard, and of a record in it.
        """
        parts: list[np.ndarray] = []
        num = self._num_per_lane
        for lane in range(first // num, -(-stop // num)):
            begin = max(first - lane * num, 0)
            end = min(stop - lane * num, num)
            parts += self._lanes[lane].places(step * num + begin, step * num + end)
        return np.concatenate(parts)


class _Lane:
    """The endless records of one lane."""

    def __init__(
        self,
        num_examples: Sequence[int],
        lane: int,
        lanes: int,
        seed: int,
        block_size: int,
    ) -> None:
        self._shards = range(lane, len(num_examples), lanes)
        self._num_examples = np.asarray(num_examples[lane::lanes])
        self._total = int(self._num_examples.sum())
        self._lane = lane
        self._seed = seed
        self._block_size = block_size
        # What was asked for last: an epoch, its order of the shards and where each
        # ends in it; the number of a block's first record, and the block's places.
        self._epoch: tuple[int, list[int], list[int]] = (-1, [], [])
        self._block: tuple[int, np.ndarray] = (0, np.empty((0, 2), np.int64))

    def places(self, first: int, stop: int) -> list[np.ndarray]:
        """Returns shard and record of each, by their numbers since the run began.

        They are in pieces, each `[any, 2]` int64.
        """
        parts = []
        while first < stop:
            start, block = self._block
            if not start <= first < start + len(block):
                start, block = self._block = self._block_of(first)
            parts.append(block[first - start : stop - start])
            first += len(parts[-1])
        return parts

    def _block_of(self, number: int) -> tuple[int, np.ndarray]:
        epoch, rest = divmod(number, self._total)
        shards, ends = self._order_of(epoch)
        place = bisect.bisect_right(ends, rest)
        shard = shards[place]
        size = int(self._num_examples[shard])
        record = rest - (ends[place] - size)
        block, inside = divmod(record, self._block_size)
        start = block * self._block_size
        order = _permutation(
            min(self._block_size, size - start),
            (self._seed, OrderStream.BLOCKS, self._lane),
            (epoch, shard, block),
        )
        places = np.empty((len(order), 2), np.int64)
        places[:, 0], places[:, 1] = self._shards[shard], order
        places[:, 1] += start
        return number - inside, places

    def _order_of(self, epoch: int) -> tuple[list[int], list[int]]:
        known, shards, ends = self._epoch
        if known != epoch:
            order = _permutation(
                len(self._shards),
                (self._seed, OrderStream.SHARDS, self._lane),
                (epoch,),
            )
            shards, ends = order.tolist(), self._num_examples[order].cumsum().tolist()
            self._epoch = epoch, shards, ends
        return shards, ends


def _permutation(
    size: int, key: tuple[int, int, int], words: tuple[int, ...]
) -> np.ndarray:
    """Returns a permutation `[size]` int64, a function of all arguments.

    Args:
        size: How many there are to permute.
        key: The seed of the run, what it is for, and a lane.
        words: At most three more.
    """
    seed, stream, lane = key
    # NumPy never changes these numbers. The counter's first word counts them.
    counter = np.array([0, *words, *[0] * (3 - len(words))], np.uint64)
    key_words = np.array([seed % 2**64, MAX_LANES * stream + lane], np.uint64)
    numbers = _THREAD.philox
    numbers.state = {
        "bit_generator": "Philox",
        "state": {"counter": counter, "key": key_words},
        # All four of the last counter are taken.
        "buffer": np.zeros(4, np.uint64),
        "buffer_pos": 4,
        "has_uint32": 0,
        "uinteger": 0,
    }
    return np.argsort(numbers.random_raw(size), kind="stable")


class _Thread(threading.local):
    """A generator of each thread: to make one takes as long as all else of a block."""

    def __init__(self) -> None:
        self.philox = np.random.Philox(0)


_THREAD = _Thread()
