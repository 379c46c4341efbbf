import itertools

import numpy as np
import pytest

from trainer import order


def test_lanes_are_a_power_of_two_that_divides_the_batch() -> None:
    assert order.num_lanes(64, 256) == 64
    assert order.num_lanes(512, 1000) == 64, "never more than 64"
    assert order.num_lanes(100, 64) == 4
    assert order.num_lanes(64, 3) == 2
    assert order.num_lanes(1, 1) == 1
    with pytest.raises(ValueError, match="both must be positive"):
        order.num_lanes(0, 4)


def test_shard_order_is_a_permutation_that_each_argument_changes() -> None:
    def shards(**changed: int) -> list[int]:
        arguments = {"num_shards": 20, "seed": 1, "lane": 2, "epoch": 3, **changed}
        return order.shard_order(**arguments).numpy().tolist()

    base = shards()
    assert sorted(base) == list(range(20))
    assert shards() == base
    for changed in ({"seed": 2}, {"lane": 3}, {"epoch": 4}):
        assert shards(**changed) != base


def test_shuffle_block_depends_on_every_word() -> None:
    records = np.arange(32)

    def shuffled(*words: int) -> list[int]:
        return order.shuffle_block(records, *words).numpy().tolist()

    base = shuffled(0, 1, 2, 3, 4)
    assert sorted(base) == records.tolist()
    for place in range(5):
        words = [0, 1, 2, 3, 4]
        words[place] += 7
        assert shuffled(*words) != base


def test_lane_position_agrees_with_counting() -> None:
    counts, seed, lane = [3, 5, 1, 4], 7, 2
    places = (
        order.Position(epoch, place, record)
        for epoch in itertools.count()
        for place, shard in enumerate(
            order.shard_order(4, seed, lane, epoch).numpy().tolist()
        )
        for record in range(counts[shard])
    )
    for num_consumed, expected in zip(range(40), places, strict=False):
        assert order.lane_position(counts, seed, lane, num_consumed) == expected
