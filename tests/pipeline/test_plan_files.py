import numpy as np
import pytest

from pipeline import contract, files, plan, plan_files, sources


@pytest.fixture
def planned(input_dir, tmp_path) -> plan.ShardPlan:
    (tmp_path / files.PROGRESS_DIR).mkdir()
    listing = sources.list_images("celeba", input_dir)
    return plan.shard_plans(listing, plan.Settings(image_size=8, shard_size=8))[0]


def test_a_plan_is_loaded_as_it_was_saved(planned, tmp_path):
    plan_files.save_plan(planned, str(tmp_path), "first")
    loaded = plan_files.load_plan(str(tmp_path), planned.name, "first")
    np.testing.assert_array_equal(loaded.locations, planned.locations)
    assert loaded.features.keys() == planned.features.keys()
    for name, values in planned.features.items():
        np.testing.assert_array_equal(loaded.features[name], values)
    for name in ("name", "split", "index", "keys", "fingerprint"):
        assert getattr(loaded, name) == getattr(planned, name)


def test_a_worker_that_does_not_see_the_output_says_so(planned, tmp_path):
    with pytest.raises(contract.DatasetError, match="every worker must see --output"):
        plan_files.load_plan(str(tmp_path / "elsewhere"), planned.name, "first")
