"""Permutations by stateless random numbers, equal on every machine.

This module imports no TensorFlow.
"""

import numpy as np

# Number of lanes that a stream can have; each lane has its own random numbers.
MAX_LANES = 64


def permutation(
    size: int, key: tuple[int, int], words: tuple[int, ...], lane: int = 0
) -> np.ndarray:
    """Returns a permutation `[size]` int64, a function of all arguments.

    Args:
        size: Number of elements to permute.
        key: Seed of the run, and a number of `streams.OrderStream`.
        words: Up to three more numbers.
        lane: One more number, less than `MAX_LANES`.
    """
    seed, stream = key
    # NumPy never changes the numbers of this generator. The first word of the counter
    # counts these numbers.
    counter = np.array([0, *words, *[0] * (3 - len(words))], np.uint64)
    key_words = np.array([seed % 2**64, MAX_LANES * stream + lane], np.uint64)
    generator = np.random.Philox(counter=counter, key=key_words)
    return np.argsort(generator.random_raw(size), kind="stable")
