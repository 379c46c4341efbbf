"""Random numbers as a function of the seed, the stream and an index.

Each use of randomness has its own number in `streams.Stream`, the first word after the
seed. Two uses therefore never share numbers, and a new use changes no existing one.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from trainer.numerics.streams import Stream

# Number of examples whose numbers are drawn together.
_BLOCK_SIZE = 100


def fold(seed: int | tf.Tensor, stream: Stream, *words: int | tf.Tensor) -> tf.Tensor:
    """Returns a stateless seed `[2]` int32, a function of all arguments.

    Args:
        seed: Seed of the run, or of a command.
        stream: Use of the numbers.
        words: Further integers that select the numbers, such as a step.
    """
    value = tf.convert_to_tensor([seed, 0], tf.int32)
    for word in (int(stream), *words):
        value = tf.random.experimental.stateless_fold_in(
            value, tf.cast(word, tf.int32), alg="philox"
        )
    return value


def normal(
    shape: Sequence[int | tf.Tensor], seed: int | tf.Tensor, stream: Stream
) -> tf.Tensor:
    """Returns draws from N(0, 1), `shape` float32."""
    return tf.random.stateless_normal(shape, fold(seed, stream), alg="philox")


def of_examples(
    distribution: Callable[..., tf.Tensor],
    shape: Sequence[int],
    seed: int,
    stream: Stream,
    first: int,
    num: int,
) -> tf.Tensor:
    """Returns random numbers for consecutive examples of a split, in any batch size.

    Args:
        distribution: `tf.random.stateless_normal` or `stateless_uniform`.
        shape: Shape of the numbers of one example.
        seed: Seed of the run.
        stream: Use of the numbers.
        first: Place of the first example in its split.
        num: Number of examples.

    Returns:
        `[num, *shape]` float32. The numbers of an example depend only on its place, not
        on the batch.

    Example:
        >>> draw = lambda first, num: of_examples(
        ...     tf.random.stateless_normal, [2], 0, Stream.SPLIT_NOISE, first, num)
        >>> bool(tf.reduce_all(draw(0, 250)[130:] == draw(130, 120)))
        True
    """
    blocks = [
        distribution([_BLOCK_SIZE, *shape], fold(seed, stream, block), alg="philox")
        for block in range(first // _BLOCK_SIZE, -(-(first + num) // _BLOCK_SIZE))
    ]
    start = first % _BLOCK_SIZE
    return tf.concat(blocks, axis=0)[start : start + num]
