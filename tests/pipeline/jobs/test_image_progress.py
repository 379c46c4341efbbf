"""The progress of a run, in images, from the files in its output directory."""

import pytest

from pipeline import contract
from pipeline.dataset import shards
from pipeline.jobs import progress
from pipeline.planning.plan import PlannedShard
from pipeline.storage import files

FEATURES = {
    "key": contract.Feature("string"),
    "image": contract.Feature("uint8", (8, 8, 3)),
}
PLANS = [
    PlannedShard(f"d-train.tfrecord-{at:05d}-of-00003", "train", at, 10, f"{at}")
    for at in range(3)
]


def finish(output, plan, run_id):
    shards.write_shard(plan, iter([[b"x"]] * 10), str(output), run_id)


def progress_bar(output, **more):
    return progress.ProgressBar(str(output), PLANS, FEATURES, "now", **more)


@pytest.fixture
def output(tmp_path):
    (tmp_path / files.PROGRESS_DIR).mkdir()
    return tmp_path


def test_images_of_finished_and_unfinished_shards_are_counted(output):
    assert progress_bar(output)._num_done() == 0
    finish(output, PLANS[0], "before")
    finish(output, PLANS[1], "now")
    unfinished = files.temporary_path(str(output), PLANS[2].name)
    # Four records, with their frames and labels, and a part of the fifth.
    unfinished.write_bytes(bytes(4 * (8 * 8 * 3 + 30)))
    with progress_bar(output) as bar:
        assert bar._num_done() == 24
        assert bar._text().startswith("24 of 30 images done, ")
        assert bar._text().endswith(" images/s, 0 rejected")


def test_an_unfinished_shard_never_counts_more_images_than_it_has(output):
    unfinished = files.temporary_path(str(output), PLANS[2].name)
    unfinished.write_bytes(bytes(10 * (8 * 8 * 3 + 300)))
    assert progress_bar(output)._num_done() == 10


def test_shards_that_are_discarded_do_not_count(output):
    finish(output, PLANS[0], "before")
    finish(output, PLANS[1], "now")
    assert progress_bar(output, keeps_earlier=False)._num_done() == 10


def test_files_of_other_plans_do_not_count(output):
    files.temporary_path(str(output), "d-test.tfrecord-00000-of-00001").write_bytes(
        bytes(9999)
    )
    assert progress_bar(output)._num_done() == 0
