"""Shuffling inside blocks, which reads every file almost in order.

The shards of a split are dealt to lanes, and every global batch takes the same number
of records from each lane. Each lane repeats on its own. In each epoch of a lane, its
shards are permuted, and the records of a shard are permuted inside blocks. All
permutations are stateless, so arithmetic gives the position of any step in any lane.
"""

import bisect
from collections.abc import Sequence

import numpy as np

from trainer.numerics.permutations import MAX_LANES, permutation
from trainer.numerics.streams import OrderStream


def num_lanes(global_batch_size: int, num_shards: int) -> int:
    """Returns the number of lanes, a power of two that divides the batch size.

    It is the largest such number up to the number of shards and up to `MAX_LANES`.

    Raises:
        ValueError: If either argument is not positive.

    Example:
        >>> num_lanes(96, 64), num_lanes(64, 5), num_lanes(7, 64)
        (32, 4, 1)
    """
    if global_batch_size < 1 or num_shards < 1:
        raise ValueError(
            f"the batch size, {global_batch_size}, and the number of shards, "
            f"{num_shards}, must be positive"
        )
    limit = min(num_shards, MAX_LANES)
    lanes = 1
    while global_batch_size % (2 * lanes) == 0 and 2 * lanes <= limit:
        lanes *= 2
    return lanes


class LaneShuffle:
    """Order that shuffles records inside blocks of their shards."""

    def __init__(
        self,
        num_examples: Sequence[int],
        lanes: int,
        *,
        seed: int,
        global_batch_size: int,
        block_size: int,
    ) -> None:
        """Deals the shards to lanes.

        Args:
            num_examples: Number of examples in each shard, all positive.
            lanes: Number of lanes, from `num_lanes`.
            seed: Seed of the run.
            global_batch_size: Examples per step over all replicas.
            block_size: Records that are permuted together.
        """
        self._lanes = [
            _Lane(num_examples, lane, lanes, seed, block_size) for lane in range(lanes)
        ]
        self._num_per_lane = global_batch_size // lanes

    def places(self, step: int, first: int, stop: int) -> np.ndarray:
        """Returns the places of records of a step; see `shuffling.Order.places`."""
        parts: list[np.ndarray] = []
        num = self._num_per_lane
        for lane in range(first // num, -(-stop // num)):
            begin = max(first - lane * num, 0)
            end = min(stop - lane * num, num)
            parts += self._lanes[lane].places(step * num + begin, step * num + end)
        return np.concatenate(parts)


class _Lane:
    """Places of the endless records of one lane."""

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
        # The latest epoch, its order of the shards, and the end of each shard in this
        # order.
        self._epoch: tuple[int, list[int], list[int]] = (-1, [], [])
        # The number of the first record in the latest block, and the block's places.
        self._block: tuple[int, np.ndarray] = (0, np.empty((0, 2), np.int64))

    def places(self, first: int, stop: int) -> list[np.ndarray]:
        """Returns the places of the lane's records `first` to `stop`, by their numbers.

        Numbers count from the start of the run. The places come in pieces, `[any, 2]`
        int64: index of a shard, and index of a record in the shard.
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
        order = permutation(
            min(self._block_size, size - start),
            (self._seed, OrderStream.BLOCKS),
            (epoch, shard, block),
            self._lane,
        )
        places = np.empty((len(order), 2), np.int64)
        places[:, 0], places[:, 1] = self._shards[shard], order
        places[:, 1] += start
        return number - inside, places

    def _order_of(self, epoch: int) -> tuple[list[int], list[int]]:
        known, shards, ends = self._epoch
        if known != epoch:
            order = permutation(
                len(self._shards),
                (self._seed, OrderStream.SHARDS),
                (epoch,),
                self._lane,
            )
            shards, ends = order.tolist(), self._num_examples[order].cumsum().tolist()
            self._epoch = epoch, shards, ends
        return shards, ends
