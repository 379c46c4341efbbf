"""Every stream of random numbers: a function of the seed, the use and the index.

A use of randomness has a number in `Stream`, which is the first word after the seed. So
no two uses share their numbers, and a use that is added changes no other. (The order of
records is drawn by NumPy's generators; see `trainer.data.shuffling`.)
"""

import enum
from collections.abc import Callable, Sequence

import tensorflow as tf

# Examples whose numbers are drawn together.
_BLOCK_SIZE = 100


@enum.unique
class Stream(enum.IntEnum):
    """The uses of randomness. A number is never changed: a run would go on otherwise.

    What comes after the stream differs: in training the step, in a validation the
    number of the batch, for a split that is read again and again that of the block.
    """

    GENERATED_PRIOR = 1
    GENERATED_POSTERIOR = 2
    TRAINING_POSTERIOR = 3
    PICTURE_PRIOR = 4
    VALIDATION_POSTERIOR = 5
    TRAINING_BINARIZATION = 6
    TRAINING_NOISE = 7
    TRAINING_DROPS = 8
    VALIDATION_BINARIZATION = 9
    VALIDATION_NOISE = 10
    VALIDATION_DROPS = 11
    SPLIT_BINARIZATION = 12
    SCORE_POSTERIOR = 13
    SCORE_IMPORTANCE = 14
    PICTURE_POSTERIOR = 15
    PICTURE_PIXELS = 16
    SPLIT_NOISE = 17
    SPLIT_DROPS = 18
    EXPORT_BINARIZATION = 19
    GENERATED_PIXELS = 20


def fold(seed: int | tf.Tensor, stream: Stream, *words: int | tf.Tensor) -> tf.Tensor:
    """Returns a stateless seed `[2]` int32, a function of all arguments.

    Args:
        seed: Seed of the run, or of a command.
        stream: Use of the numbers.
        words: Whatever else they depend on, such as a step.
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
    """Returns draws from N(0, 1) of a shape, float32."""
    return tf.random.stateless_normal(shape, fold(seed, stream), alg="philox")


def of_examples(
    distribution: Callable[..., tf.Tensor],
    shape: Sequence[int],
    seed: int,
    stream: Stream,
    first: int,
    num: int,
) -> tf.Tensor:
    """Returns numbers for some examples of a split, whatever the batch they come in.

    Args:
        distribution: `tf.random.stateless_normal` or `stateless_uniform`.
        shape: Shape of an example's numbers.
        seed: Seed of the run.
        stream: Use of the numbers.
        first: Place of the first example in its split.
        num: Number of examples.

    Returns:
        `[num, *shape]` float32; those of an example depend on its place alone.

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
