"""The table of all streams of random numbers.

Never change or reuse a stream's number: a resumed run would draw other random numbers.
"""

import enum


@enum.unique
class Stream(enum.IntEnum):
    """Streams of TensorFlow's generators; see `random.fold`.

    The word after the stream is the step in training, the batch number in validation,
    and the block number in a split that is read repeatedly.
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


@enum.unique
class OrderStream(enum.IntEnum):
    """Streams of NumPy's generators; see `permutations`."""

    SHARDS = 1
    BLOCKS = 2
    WINDOW_SHARDS = 3
    WINDOW_RECORDS = 4
