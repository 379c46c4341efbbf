import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from trainer.data import lanes, shuffling

COUNTS = [3, 5, 1, 4, 2, 6]
WINDOWS = {"max_window_shards": 2}


def shuffle(num_examples: Sequence[int] = COUNTS, **changed: int) -> shuffling.Shuffle:
    arguments = {"seed": 7, "global_batch_size": 4, **changed}
    return shuffling.Shuffle(num_examples, **arguments)


def places(
    order: shuffling.Order, num_steps: int, batch_size: int = 4
) -> list[tuple[int, int]]:
    return [
        tuple(place)
        for step in range(num_steps)
        for place in order.places(step, 0, batch_size).tolist()
    ]


def equal_shards(num_examples: int, num_shards: int) -> list[int]:
    sizes = np.full(num_shards, num_examples // num_shards)
    sizes[: num_examples % num_shards] += 1
    return sizes.tolist()


@pytest.mark.parametrize("most", [1, 2, 5, 6, 100])
def test_an_epoch_takes_each_record_once(most: int) -> None:
    taken = places(shuffle(max_window_shards=most), 63)
    every = {(shard, at) for shard, num in enumerate(COUNTS) for at in range(num)}
    assert len(taken) == 12 * len(every)
    epochs = [taken[start : start + 21] for start in range(0, len(taken), 21)]
    assert all(set(epoch) == every for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 12


def test_a_window_takes_all_its_shards_before_the_next() -> None:
    taken = places(shuffle([40] * 6, **WINDOWS), 120)
    windows = []
    for start in range(0, 480, 80):
        shards = [shard for shard, _ in taken[start : start + 80]]
        assert sorted(np.unique(shards, return_counts=True)[1]) == [40, 40]
        # The shards of a window take turns.
        assert len(list(itertools.groupby(shards))) > 20
        windows.append(frozenset(shards))
    for epoch in (windows[:3], windows[3:]):
        assert frozenset.union(*epoch) == set(range(6))
    assert windows[:3] != windows[3:]


@pytest.mark.parametrize(
    ("num_examples", "bounds", "expected"),
    [
        ([10] * 256, {}, 1),
        ([10] * 257, {}, 2),
        ([10] * 6, {"max_window_records": 20}, 3),
        ([100, 100], {"max_window_records": 20}, 2),
    ],
)
def test_windows_are_few_and_bounded(
    num_examples: list[int], bounds: dict[str, int], expected: int
) -> None:
    total = sum(num_examples)
    taken = places(shuffle(num_examples, **bounds), -(-total // 4))[:total]
    ends = {}
    for number, (shard, _) in enumerate(taken):
        ends.setdefault(shard, [number, number])[1] = number
    # Windows begin where no shard has records on both sides.
    num_windows = 1 + sum(
        all(not first < edge <= last for first, last in ends.values())
        for edge in range(1, total)
    )
    assert num_windows == expected


def test_a_window_has_a_million_records_by_default() -> None:
    size = 2**19
    order = shuffling.Shuffle([size] * 3, seed=0, global_batch_size=3 * size)
    shards = order.places(0, 0, 3 * size)[:, 0].reshape(3, size)
    assert [len(np.unique(part)) for part in shards] == [2, 2, 1]


def test_records_in_turn_repeat_after_the_last() -> None:
    every = [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2]]
    assert shuffling.in_turn([2, 3], 0, 12).tolist() == [*every, *every, *every[:2]]
    assert shuffling.in_turn([2, 3], 4, 7).tolist() == [[1, 2], [0, 0], [0, 1]]


def test_seeds_have_orders_of_their_own() -> None:
    orders = [tuple(places(shuffle(seed=seed), 5)) for seed in (1, 2, -1, 1)]
    assert len(set(orders)) == 3
    assert orders[0] == orders[3]


def test_the_order_is_the_same_on_every_machine() -> None:
    """Lets a resumed run continue with the records that it has not seen."""
    first = [(1, 3), (1, 4), (0, 2), (1, 2), (0, 0), (1, 0), (1, 1), (0, 1)]
    second = [(5, 2), (5, 5), (5, 1), (5, 4)]
    assert places(shuffle(**WINDOWS), 3) == first + second


def test_any_part_of_any_step_is_that_of_the_whole() -> None:
    whole = places(shuffle(**WINDOWS), 40)
    asked = shuffle(**WINDOWS)
    for step in (39, 0, 17, 16, 3):
        for first, stop in itertools.combinations(range(5), 2):
            actual = asked.places(step, first, stop)
            assert actual.dtype == np.int64
            expected = whole[4 * step + first : 4 * step + stop]
            assert [tuple(place) for place in actual.tolist()] == expected


def test_a_batch_may_be_larger_than_an_epoch() -> None:
    taken = places(shuffle([2, 1], global_batch_size=8), 3, batch_size=8)
    every = [(0, 0), (0, 1), (1, 0)]
    assert [sorted(taken[at : at + 3]) for at in range(0, 24, 3)] == 8 * [every]


@pytest.mark.parametrize(
    ("num_examples", "num_shards", "batch_size", "bounds"),
    [
        (1_521, 2, 128, {}),
        (5_000, 8, 128, {}),
        (60_000, 64, 64, {}),
        (60_000, 64, 64, {"max_window_shards": 16}),
        (162_770, 256, 128, {}),
    ],
)
def test_the_shuffle_is_nearly_uniform(
    num_examples: int, num_shards: int, batch_size: int, bounds: dict[str, int]
) -> None:
    """Compares with a new uniform permutation of all records in every epoch."""
    num_epochs = 20
    sizes = equal_shards(num_examples, num_shards)
    order = shuffle(sizes, seed=0, global_batch_size=batch_size, **bounds)
    num_steps = num_epochs * num_examples // batch_size
    taken = np.concatenate(
        [order.places(step, 0, batch_size) for step in range(num_steps)]
    )
    numbers = np.cumsum([0, *sizes])[taken[:, 0]] + taken[:, 1]

    correlations = []
    epochs = numbers[: 19 * num_examples].reshape(19, num_examples)
    place_in = np.argsort(epochs, axis=1)
    for before, after in itertools.pairwise(place_in):
        correlations.append(np.corrcoef(before, after)[0, 1])
    assert abs(np.mean(correlations)) < 0.03

    batches = numbers.reshape(num_steps, batch_size)
    partners = [
        len(np.unique(batches[(batches == record).any(axis=1)])) - 1
        for record in np.linspace(0, num_examples - 1, 40).astype(int)
    ]
    num_meetings = num_epochs * (batch_size - 1)
    uniform = (num_examples - 1) * (1 - (1 - 1 / (num_examples - 1)) ** num_meetings)
    assert np.mean(partners) > 0.95 * uniform


def test_a_block_size_chooses_lanes() -> None:
    arguments = {"seed": 7, "global_batch_size": 4}
    chosen = shuffling.make_order(COUNTS, 2, block_size=2, **arguments)
    lane_order = lanes.LaneShuffle(COUNTS, 2, block_size=2, **arguments)
    assert places(chosen, 9) == places(lane_order, 9)
    chosen = shuffling.make_order(COUNTS, 2, block_size=0, **arguments)
    assert places(chosen, 9) == places(shuffle(), 9)


def test_lanes_are_no_more_than_the_shards_with_examples() -> None:
    """Rejected images can leave some of a split's shards without examples."""
    order = shuffling.make_order(
        [3, 1, 2], 4, seed=0, global_batch_size=8, block_size=2
    )
    assert {shard for shard, _ in places(order, 3, batch_size=8)} == {0, 1, 2}
