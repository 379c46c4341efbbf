"""Permutations are functions of all their arguments."""

import itertools

import numpy as np

from trainer.numerics.permutations import MAX_LANES, permutation

GOLDEN = [[3, 2, 1, 5, 0, 4], [5, 4, 1, 2, 3, 0]]


def test_the_permutation_is_the_same_on_every_machine() -> None:
    """Lets a resumed run continue with the records that it has not seen."""
    assert permutation(6, (5, 2), (3,)).tolist() == GOLDEN[0]
    assert permutation(6, (-1, 2), (3, 4, 5), lane=9).tolist() == GOLDEN[1]


def test_each_argument_gives_another_permutation() -> None:
    seeds = (0, 1, -1, 2**62, 2**63, 2**63 - 1)
    words = ((), (1,), (0, 1), (0, 0, 1), (2**40,))
    lanes = (0, 1, MAX_LANES - 1)
    given = list(itertools.product(seeds, (1, 2), words, lanes))
    drawn = {
        tuple(permutation(30, (seed, stream), word, lane))
        for seed, stream, word, lane in given
    }
    assert len(drawn) == len(given)
    assert all(sorted(one) == list(range(30)) for one in drawn)


def test_missing_words_are_zeros() -> None:
    actual = permutation(9, (1, 1), (7,))
    np.testing.assert_array_equal(actual, permutation(9, (1, 1), (7, 0, 0)))
    assert actual.dtype == np.int64
    assert permutation(0, (1, 1), ()).shape == (0,)
