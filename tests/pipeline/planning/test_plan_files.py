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
