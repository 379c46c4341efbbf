"""Streams of random numbers: each use has its own, and no stream ever changes."""

import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from trainer.numerics import random
from trainer.numerics.streams import OrderStream, Stream
from trainer.training import forward

TRAINER = pathlib.Path(random.__file__).parents[1]


def test_a_run_goes_on_with_the_numbers_of_earlier_releases() -> None:
    # The first releases folded seed 5, stream 3 and step 7 into these values.
    seed = random.fold(5, Stream.TRAINING_POSTERIOR, 7)
    assert seed.numpy().tolist() == [-1729064858, 7]
    seed = random.fold(5, Stream.EXPORT_BINARIZATION)
    assert seed.numpy().tolist() == [-1861752113, 19]
    assert [int(stream) for stream in forward.TRAIN_STREAMS] == [3, 6, 7, 8]
    assert [int(stream) for stream in forward.EVAL_STREAMS] == [5, 9, 10, 11]


# In the order of their numbers, from 1 on; new streams come last.
STREAMS = """
GENERATED_PRIOR GENERATED_POSTERIOR TRAINING_POSTERIOR PICTURE_PRIOR
VALIDATION_POSTERIOR TRAINING_BINARIZATION TRAINING_NOISE TRAINING_DROPS
VALIDATION_BINARIZATION VALIDATION_NOISE VALIDATION_DROPS SPLIT_BINARIZATION
SCORE_POSTERIOR SCORE_IMPORTANCE PICTURE_POSTERIOR PICTURE_PIXELS
SPLIT_NOISE SPLIT_DROPS EXPORT_BINARIZATION GENERATED_PIXELS
""".split()


def test_no_stream_changes_its_number() -> None:
    actual = {stream.name: int(stream) for stream in Stream}
    assert {name: actual[name] for name in STREAMS} == dict(
        zip(STREAMS, range(1, 21), strict=True)
    )


def test_draws_are_those_of_earlier_releases() -> None:
    drawn = random.normal([3], 5, Stream.GENERATED_PRIOR).numpy()
    # The processor decides the rounding of logarithms and cosines.
    expected = [3.480079412460327, -0.8493955731391907, -0.514886200428009]
    np.testing.assert_allclose(drawn, expected, rtol=1e-6, atol=0)
    # The two examples lie in two blocks.
    drawn = random.of_examples(
        tf.random.stateless_uniform, [2], 5, Stream.SPLIT_DROPS, 99, 2
    )
    assert drawn.numpy().tolist() == [
        [0.3448735475540161, 0.16769301891326904],
        [0.7143868207931519, 0.9255781173706055],
    ]


def test_no_two_uses_share_their_numbers() -> None:
    seeds = {
        tuple(random.fold(seed, stream, 0).numpy().tolist())
        for seed in (0, 1)
        for stream in Stream
    }
    assert len(seeds) == 2 * len(Stream)
    assert [int(stream) for stream in OrderStream] == [1, 2, 3, 4]


def test_every_seed_is_made_here() -> None:
    num_calls = 0
    for path in TRAINER.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name != "random.py":
            assert "stateless_fold_in" not in text, path
        assert not re.search(r"STREAM\w* = \(?\d", text), path
        for call in re.findall(r"random\.fold\(([^()]*)", text):
            num_calls += 1
            assert re.search(r"Stream\.|\bstream\b", call), f"{path}: fold({call})"
    assert num_calls > 5


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 7, 99, 100, 101, 230])
def test_numbers_of_an_example_do_not_depend_on_its_batch(size: int) -> None:
    def draw(first: int, num: int) -> np.ndarray:
        return random.of_examples(
            tf.random.stateless_uniform, [3], 5, Stream.SPLIT_DROPS, first, num
        ).numpy()

    whole = draw(0, 230)
    assert whole.shape == (230, 3)
    assert len(np.unique(whole)) > 680
    parts = [draw(at, min(size, 230 - at)) for at in range(0, 230, size)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
