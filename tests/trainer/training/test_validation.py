"""Means over a split, from the sums that each batch gives."""

import itertools
from typing import Any

import pytest
import tensorflow as tf

from pipeline import contract
from trainer.distribution import strategies
from trainer.models.conditions import Conditioning
from trainer.training.validation import Evaluation, Evaluator


class Sums:
    """Steps whose evaluation of a batch gives sums that the test knows."""

    term_names = ("elbo",)

    def evaluate_batch(self, _: Any, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Five examples: four in the first batch, and one beside padding.
        is_last = int(index)
        terms = [-8.0, -4.0]
        divergences = [[4.0, 8.0], [1.0, 7.0]]
        # All means of the first latent are 3. Means of the second are 2, -2, 1, -1, 0.
        means = [[12.0, 0.0], [3.0, 0.0]]
        squares = [[36.0, 10.0], [9.0, 0.0]]
        latents = [each[is_last] for each in (divergences, means, squares)]
        return (
            tf.constant([terms[is_last]], tf.float64),
            tf.constant(latents, tf.float64),
        )


def evaluate(monkeypatch: pytest.MonkeyPatch, num_examples: int) -> Evaluation:
    monkeypatch.setattr(strategies, "iterate", lambda *_: itertools.repeat({}))
    shard = contract.ShardInfo("d", num_examples, 1000, "ab")
    manifest = contract.Manifest(
        name="d",
        settings={},
        source_fingerprint="ab",
        features={},
        splits={"test": contract.SplitInfo((shard,))},
    )
    steps: Any = Sums()
    return Evaluator(
        tf.distribute.get_strategy(),
        steps,
        manifest,
        "d",
        "test",
        global_batch_size=4,
        conditioning=Conditioning("none", 10, 1.0),
    ).evaluate()


def test_padding_counts_neither_in_sums_nor_in_their_divisor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    actual = evaluate(monkeypatch, num_examples=5)
    assert actual.scalars["elbo"] == pytest.approx(-12 / 5)
    assert actual.kl_per_latent.tolist() == [1.0, 3.0]


def test_a_latent_that_is_large_but_never_moves_is_not_active(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert evaluate(monkeypatch, num_examples=5).scalars["active_units"] == 1


def test_one_example_moves_no_latent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "active_units" not in evaluate(monkeypatch, num_examples=1).scalars
