import numpy as np
import pytest

from pipeline import contract, files, plan, plan_files, sources


@pytest.fixture
def planned(input_dir, tmp_path) -> plan.ShardPlan:
    (tmp_path / files.PROGRESS_DIR).mkdir()
    listing = sources.list_images("celeba", input_dir)
    return next(plan.shard_plans(listing, plan.Settings(image_size=8, shard_size=8)))


def test_a_plan_is_loaded_as_it_was_saved(planned, tmp_path):
    kept = plan_files.save_plan(planned, str(tmp_path), "first")
    loaded = plan_files.load_plan(str(tmp_path), planned.shard.name, "first")
    assert kept == loaded.shard == planned.shard
    found, expected = loaded.rows, planned.rows
    assert found.keys == expected.keys
    np.testing.assert_array_equal(found.locations, expected.locations)
    assert found.features.keys() == expected.features.keys()
    for name, values in expected.features.items():
        np.testing.assert_array_equal(found.features[name], values)


def test_a_worker_that_does_not_see_the_output_says_so(planned, tmp_path):
    with pytest.raises(contract.DatasetError, match="every worker must see --output"):
        plan_files.load_plan(str(tmp_path / "elsewhere"), planned.shard.name, "first")
