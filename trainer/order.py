"""Which records a step sees: a pure function of (dataset, seed, batch size, step).

The shards of a split are dealt to lanes, and every global batch takes the same
number of records from each lane. A lane repeats on its own. In each epoch of a lane
its shards are permuted, and the records of a shard are permuted inside blocks. All
permutations are stateless, so the place of any step in any lane is arithmetic.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

MAX_LANES = 64

# First word of every random seed, so that no two uses share a stream.
_SHARD_STREAM, _BLOCK_STREAM = 1, 2


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


def fold(seed: int | tf.Tensor, *words: int | tf.Tensor) -> tf.Tensor:
    """Returns a stateless seed `[2]` int32, a function of `seed` and all words."""
    value = tf.convert_to_tensor([seed, 0], tf.int32)
    for word in words:
        value = tf.random.experimental.stateless_fold_in(
            value, tf.cast(word, tf.int32), alg="philox"
        )
    return value


def shard_order(
    num_shards: int | tf.Tensor,
    seed: int,
    lane: int | tf.Tensor,
    epoch: int | tf.Tensor,
) -> tf.Tensor:
    """Returns the permutation `[num_shards]` int64 of a lane's shards in an epoch."""
    return tf.random.experimental.stateless_shuffle(
        tf.range(tf.cast(num_shards, tf.int64)),
        seed=fold(seed, _SHARD_STREAM, lane, epoch),
        alg="philox",
    )


def shuffle_block(
    records: tf.Tensor,
    seed: int,
    lane: tf.Tensor,
    epoch: tf.Tensor,
    shard: tf.Tensor,
    block: tf.Tensor,
) -> tf.Tensor:
    """Returns `records` `[at most block size]` in the block's order for the epoch."""
    return tf.random.experimental.stateless_shuffle(
        records,
        seed=fold(seed, _BLOCK_STREAM, lane, epoch, shard, block),
        alg="philox",
    )


@dataclasses.dataclass(frozen=True)
class Position:
    """Where a lane stands.

    Attributes:
        epoch: Passes over the lane that are complete.
        shard: Place in the epoch's shard order, not an index of a shard.
        record: Records of that shard that are consumed.
    """

    epoch: int
    shard: int
    record: int


def lane_position(
    shard_counts: Sequence[int], seed: int, lane: int, num_consumed: int
) -> Position:
    """Returns where a lane stands after `num_consumed` of its records.

    Args:
        shard_counts: Records in each shard of the lane, all positive.
        seed: Of the run.
        lane: Index of the lane.
        num_consumed: Records taken from the lane since the start of the run.
    """
    epoch, rest = divmod(num_consumed, sum(shard_counts))
    order = shard_order(len(shard_counts), seed, lane, epoch).numpy()
    ends = np.cumsum(np.asarray(shard_counts)[order])
    shard = int(np.searchsorted(ends, rest, side="right"))
    start = int(ends[shard - 1]) if shard else 0
    return Position(epoch, shard, rest - start)
