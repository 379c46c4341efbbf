import dataclasses
import pickle
import time

import numpy as np
import pytest

from pipeline import contract
from pipeline.planning import plan
from pipeline.planning.dataset_settings import Settings
from pipeline.sources import Listing, splits
from pipeline.sources.image_table import ImageTable
from pipeline.sources.splits import hashed_splits


class NoReader:
    def read(self, key, location):
        raise NotImplementedError


def make_listing(**num_images: int) -> Listing:
    parts = []
    for split, number in num_images.items():
        images = ImageTable(
            keys=[f"{split}{index:06d}" for index in range(number)],
            locations=np.arange(number * 2).reshape(number, 2),
            features={"label": np.arange(number)},
        )
        parts.append((split, images))
    return Listing("d", parts, {"label": contract.Feature("int64")}, "ab", NoReader())


def plans_of(listing: Listing, **settings) -> list[plan.ShardPlan]:
    return list(plan.shard_plans(listing, Settings(**settings)))


def order_of(keys, seed: int = 0) -> list[str]:
    images = ImageTable(keys, np.zeros([len(keys), 1], np.int64))
    listing = Listing("d", [("train", images)], {}, "ab", NoReader())
    (only,) = plans_of(listing, seed=seed, shard_size=len(keys))
    return list(only.images.keys)


def fingerprint_of(listing: Listing, **settings) -> str:
    return plans_of(listing, **settings)[0].shard.fingerprint


@pytest.mark.parametrize(
    ("num_images", "shard_size", "expected"),
    [
        (1, 1024, 1),
        (1024, 1024, 1),
        (1025, 1024, 2),
        (2049, 1024, 4),
        (162_770, 1024, 256),
        (3, 1, 3),
        (5, 2, 4),
        (8, 1, 8),
    ],
)
def test_num_shards(num_images, shard_size, expected):
    number = plan.num_shards(num_images, shard_size)
    assert number == expected
    assert -(-num_images // number) <= shard_size
    assert number <= num_images


def test_too_many_shards():
    with pytest.raises(contract.DatasetError, match="raise `shard_size`"):
        plan.num_shards(200_000, 1)


def test_a_split_may_have_as_many_shards_as_five_digits_count():
    assert plan.num_shards(99_999, 1) == 99_999
    with pytest.raises(contract.DatasetError, match="100000 shards.* at most 99999"):
        plan.num_shards(100_000, 1)


@pytest.mark.parametrize("num_between", [0, 50])
def test_two_images_with_one_key_are_refused(num_between):
    keys = ["a.jpg", *(f"{number}.jpg" for number in range(num_between)), "a.jpg"]
    with pytest.raises(contract.DatasetError, match="two images have the key a.jpg: "):
        order_of(keys)


@pytest.mark.parametrize("number", [1, 7, 64, 65, 200])
def test_every_image_is_in_one_shard_and_sizes_differ_by_at_most_one(number):
    plans = plans_of(make_listing(train=number), shard_size=16)
    sizes = [len(planned.images) for planned in plans]
    assert sizes == [planned.shard.num_images for planned in plans]
    assert sorted(key for planned in plans for key in planned.images.keys) == [
        f"train{index:06d}" for index in range(number)
    ]
    assert max(sizes) - min(sizes) <= 1
    assert 0 < min(sizes) <= max(sizes) <= 16


def test_locations_and_features_follow_their_keys():
    for planned in plans_of(make_listing(train=50), shard_size=8):
        positions = [int(key[-6:]) for key in planned.images.keys]
        expected = [[2 * at, 2 * at + 1] for at in positions]
        assert planned.images.locations.tolist() == expected
        assert planned.images.features["label"].tolist() == positions


def test_splits_come_in_order_with_their_names():
    plans = plans_of(make_listing(test=1, train=3), shard_size=2)
    assert [planned.shard.name for planned in plans] == [
        "d-train.tfrecord-00000-of-00002",
        "d-train.tfrecord-00001-of-00002",
        "d-test.tfrecord-00000-of-00001",
    ]


def test_the_order_is_golden_and_depends_on_the_seed():
    keys = [f"{index:06d}.jpg" for index in range(1, 9)]
    assert order_of(keys) == [keys[place] for place in GOLDEN_ORDER]
    assert order_of(keys, seed=1) != order_of(keys)
    assert sorted(order_of(keys, seed=1)) == keys


GOLDEN_ORDER = [5, 6, 3, 0, 7, 1, 2, 4]


def test_the_order_of_a_key_does_not_depend_on_the_others():
    keys = [f"{index:06d}.jpg" for index in range(100)]
    fewer = order_of(keys[:50])
    assert fewer == [key for key in order_of(keys) if key in keys[:50]]


def test_fingerprints_see_every_change():
    listing = make_listing(train=4)
    base = fingerprint_of(listing)
    images = listing.by_split()["train"]
    moved = dataclasses.replace(images, locations=images.locations + 1)
    relabelled = dataclasses.replace(images, features={"label": np.arange(4) + 1})
    settings = [
        {"image_size": 64},
        {"image_dtype": "uint8"},
        {"seed": 1},
        {"resize": "area"},
        {"crop_size": 9},
        {"source": "folder"},
    ]
    others = [fingerprint_of(listing, **changed) for changed in settings]
    for changed in (moved, relabelled):
        other = dataclasses.replace(listing, parts=[("train", changed)])
        others.append(fingerprint_of(other))
    assert len({base, *others}) == 1 + len(others)
    assert base == fingerprint_of(listing)


def test_plans_are_small_and_quick_for_the_whole_of_celeba():
    start_seconds = time.process_time()
    plans = plans_of(make_listing(train=202_599))
    assert time.process_time() - start_seconds < 5
    assert max(len(pickle.dumps(shard)) for shard in plans) < 200_000


def test_the_split_of_a_key_depends_on_nothing_else():
    keys = [f"{number}.jpg" for number in range(5000)]
    fractions = (0.6, 0.3, 0.1)
    actual = hashed_splits(keys, fractions, seed=0)
    for split, fraction in zip(contract.SPLITS, fractions, strict=True):
        assert abs(actual.count(split) / 5000 - fraction) < 0.02
    assert hashed_splits(keys[::-7], fractions, seed=0) == actual[::-7]
    assert hashed_splits(keys, fractions, seed=1) != actual
    # The split of a key says nothing about its place in the order.
    split_of = dict(zip(keys, actual, strict=True))
    first = [split_of[key] for key in order_of(keys)[:2500]]
    assert abs(first.count("train") / 2500 - 0.6) < 0.03


def test_the_splits_of_keys_are_golden():
    keys = [f"{number:06d}.jpg" for number in range(1, 21)]
    letters = {"train": "r", "validation": "v", "test": "t"}
    for seed, expected in enumerate(("trtrvrrrttrrtvtrrvrr", "rrrrrrrvrvvtvrrvvvrr")):
        actual = hashed_splits(keys, (0.5, 0.3, 0.2), seed=seed)
        assert "".join(map(letters.get, actual)) == expected


def test_a_hash_at_the_edge_has_a_split_with_a_fraction(monkeypatch):
    edges = np.array([0, 2**64 - 1], ">u8")
    monkeypatch.setattr(splits, "hash_keys", lambda keys, seed: edges)
    for fractions, expected in (
        ((0.0, 1.0, 0.0), ["validation", "validation"]),
        ((0.5, 0.4999999, 0.0), ["train", "validation"]),
        ((0.3333333, 0.3333333, 0.3333333), ["train", "test"]),
        ((0.0, 0.0, 1.0), ["test", "test"]),
    ):
        assert hashed_splits(["a", "b"], fractions, seed=0) == expected
