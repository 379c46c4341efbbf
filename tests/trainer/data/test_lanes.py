import itertools

import numpy as np
import pytest

from trainer.data.lanes import LaneShuffle, num_lanes

COUNTS = [3, 5, 1, 4, 2, 6]


def shuffle(
    num_examples: list[int] = COUNTS, lanes: int = 2, **changed: int
) -> LaneShuffle:
    arguments = {"seed": 7, "global_batch_size": 4, "block_size": 2, **changed}
    return LaneShuffle(num_examples, lanes, **arguments)


def places(
    shuffled: LaneShuffle, num_steps: int, batch_size: int = 4
) -> list[list[tuple[int, int]]]:
    return [
        [tuple(place) for place in shuffled.places(step, 0, batch_size).tolist()]
        for step in range(num_steps)
    ]


def test_lanes_are_a_power_of_two_that_divides_the_batch() -> None:
    assert num_lanes(64, 256) == 64
    assert num_lanes(512, 1000) == 64, "never more than 64"
    assert num_lanes(100, 64) == 4
    assert num_lanes(64, 3) == 2
    assert num_lanes(1, 1) == 1
    with pytest.raises(ValueError, match="number of shards, 4, must be positive"):
        num_lanes(0, 4)


@pytest.mark.parametrize("block_size", [1, 2, 100])
def test_a_lane_takes_each_of_its_records_once_in_an_epoch(block_size: int) -> None:
    steps = places(shuffle(block_size=block_size), 90)
    for lane in range(2):
        shards = range(lane, len(COUNTS), 2)
        every = {(shard, at) for shard in shards for at in range(COUNTS[shard])}
        taken = [place for step in steps for place in step[2 * lane : 2 * lane + 2]]
        for start in range(0, len(taken) - len(every), len(every)):
            assert set(taken[start : start + len(every)]) == every


def test_a_shard_is_taken_whole_and_a_block_before_the_next() -> None:
    steps = places(shuffle([40, 40, 40], 1, block_size=8), 60)
    blocks = [(shard, at // 8) for step in steps for shard, at in step]
    runs = [(block, len(list(run))) for block, run in itertools.groupby(blocks)]
    assert {length for _, length in runs} == {8}
    actual = [block for block, _ in runs]
    assert len(actual) == 30
    for start in range(0, 30, 5):
        assert actual[start : start + 5] == [(actual[start][0], at) for at in range(5)]
    assert sorted(shard for shard, _ in actual[:15:5]) == [0, 1, 2]


def test_epochs_blocks_lanes_and_seeds_have_orders_of_their_own() -> None:
    arguments = {"lanes": 2, "block_size": 32, "global_batch_size": 2}

    def orders(seed: int) -> list[tuple[int, ...]]:
        shuffled = shuffle([64, 64], **arguments, seed=seed)
        by_lane = [
            [
                int(shuffled.places(step, lane, lane + 1)[0, 1]) % 32
                for step in range(128)
            ]
            for lane in range(2)
        ]
        return [
            tuple(lane[start : start + 32])
            for lane in by_lane
            for start in range(0, 128, 32)
        ]

    # Two lanes, each with two epochs of two blocks.
    actual = [*orders(1), *orders(2), *orders(-1)]
    assert all(sorted(one) == list(range(32)) for one in actual)
    assert len(set(actual)) == 24
    assert orders(1) == actual[:8]

    shards = [
        tuple(
            shard
            for step in places(shuffle([1] * 20, 1, seed=seed), 5)
            for shard, _ in step
        )
        for seed in (1, 2)
    ]
    assert len(set(shards)) == 2


def test_the_order_is_the_same_on_every_machine() -> None:
    """Lets a resumed run continue with the records that it has not seen."""
    assert places(shuffle(), 3) == [
        [(2, 0), (0, 0), (3, 0), (3, 1)],
        [(0, 1), (0, 2), (3, 2), (3, 3)],
        [(4, 0), (4, 1), (5, 1), (5, 0)],
    ]


def test_any_part_of_any_step_is_that_of_the_whole() -> None:
    whole = places(shuffle(), 40)
    asked = shuffle()
    for step in (39, 0, 17, 16, 3):
        for first, stop in itertools.combinations(range(5), 2):
            actual = asked.places(step, first, stop)
            assert actual.dtype == np.int64
            assert [tuple(place) for place in actual.tolist()] == whole[step][
                first:stop
            ]
