import dataclasses
import zipfile

import numpy as np
import pytest

from pipeline import contract, sources
from pipeline.planning import plan, plan_files
from pipeline.planning.dataset_settings import Settings
from pipeline.storage import files


@pytest.fixture
def planned(input_dir, tmp_path) -> plan.ShardPlan:
    (tmp_path / files.PROGRESS_DIR).mkdir()
    listing = sources.list_images("celeba", input_dir)
    return next(plan.shard_plans(listing, Settings(image_size=8, shard_size=8)))


def test_a_plan_is_loaded_as_it_was_saved(planned, tmp_path):
    kept = plan_files.save_plan(planned, str(tmp_path), "first")
    loaded = plan_files.load_plan(str(tmp_path), planned.shard.name, "first")
    assert kept == loaded.shard == planned.shard
    actual, expected = loaded.images, planned.images
    assert actual.keys == expected.keys
    np.testing.assert_array_equal(actual.locations, expected.locations)
    assert actual.features.keys() == expected.features.keys()
    for name, values in expected.features.items():
        np.testing.assert_array_equal(actual.features[name], values)


def test_a_worker_that_does_not_see_the_output_says_so(planned, tmp_path):
    with pytest.raises(contract.DatasetError, match="every worker must see `output`"):
        plan_files.load_plan(str(tmp_path / "elsewhere"), planned.shard.name, "first")


@pytest.mark.parametrize("name", ["header.npy", "locations.npy"])
def test_a_plan_of_what_is_no_array_is_refused(planned, tmp_path, name):
    shard = plan_files.save_plan(planned, str(tmp_path), "first")
    path = plan_files.plan_path(str(tmp_path), shard.name, "first")
    with zipfile.ZipFile(path) as archive:
        members = {other: archive.read(other) for other in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for other, data in {**members, name: b"no array"}.items():
            archive.writestr(other, data)
    with pytest.raises(contract.DatasetError, match="is damaged .AttributeError"):
        plan_files.load_plan(str(tmp_path), shard.name, "first")


def test_a_pickle_in_a_plan_is_not_loaded(planned, tmp_path):
    shard = plan_files.save_plan(planned, str(tmp_path), "first")
    path = plan_files.plan_path(str(tmp_path), shard.name, "first")
    np.savez(path, header=np.array([{}], dtype=object))
    with pytest.raises(contract.DatasetError, match="is damaged .*allow_pickle=False"):
        plan_files.load_plan(str(tmp_path), shard.name, "first")


@pytest.fixture
def four(planned) -> plan.ShardPlan:
    """Returns a plan of four images, with two numbers each."""
    images = sources.ImageTable(
        ["a", "b", "c", "d"], np.full([4, 2], 3), {"label": np.arange(4)}
    )
    return plan.ShardPlan(dataclasses.replace(planned.shard, num_images=4), images)


def test_plans_are_written_and_missing_images_are_named(four, planned, tmp_path):
    # Only a negative first number tells that an image is missing.
    four.images.locations[:] = [[0, 3], [-1, 0], [3, -1], [-2, 3]]
    written, missing = plan_files.save_plans([four, planned], str(tmp_path), "first")
    assert written == [four.shard, planned.shard]
    assert missing == ["b", "d"]
    shard = dataclasses.replace(planned.shard, name="other")
    others = [dataclasses.replace(planned, shard=shard), four]
    assert plan_files.save_plans(others, str(tmp_path), "first")[1] == ["b", "d"]
    for name in (planned.shard.name, "other"):
        assert plan_files.load_plan(str(tmp_path), name, "first").shard.name == name


def test_a_plan_that_is_sound_is_loaded(four, tmp_path):
    plan_files.save_plan(four, str(tmp_path), "first")
    loaded = plan_files.load_plan(str(tmp_path), four.shard.name, "first")
    assert loaded.images.keys == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "changed",
    [
        {"locations": np.zeros([4, 2])},
        {"locations": np.zeros([3, 2], int)},
        {"locations": np.zeros([4], int)},
        {"features": {"label": np.zeros([4])}},
        {"features": {"label": np.zeros([5], int)}},
        {"keys": ["a"] * 3},
        {"keys": [1] * 4},
        {"keys": "abcd"},
    ],
    ids=str,
)
def test_a_plan_that_is_not_sound_is_refused(four, tmp_path, changed):
    images = dataclasses.replace(four.images, **changed)
    damaged = dataclasses.replace(four, images=images)
    plan_files.save_plan(damaged, str(tmp_path), "first")
    with pytest.raises(contract.DatasetError, match="is damaged .ValueError: not the"):
        plan_files.load_plan(str(tmp_path), four.shard.name, "first")


def test_a_plan_of_another_shard_is_refused(planned, tmp_path):
    shard = plan_files.save_plan(planned, str(tmp_path), "first")
    path = plan_files.plan_path(str(tmp_path), shard.name, "first")
    other = plan_files.plan_path(str(tmp_path), "other", "first")
    with open(path, "rb") as file, open(other, "wb") as copy:
        copy.write(file.read())
    with pytest.raises(contract.DatasetError, match="not the plan of other"):
        plan_files.load_plan(str(tmp_path), "other", "first")
    for split in ("holdout", ""):
        shard = dataclasses.replace(planned.shard, split=split)
        damaged = dataclasses.replace(planned, shard=shard)
        plan_files.save_plan(damaged, str(tmp_path), "first")
        with pytest.raises(contract.DatasetError, match="is damaged"):
            plan_files.load_plan(str(tmp_path), shard.name, "first")
