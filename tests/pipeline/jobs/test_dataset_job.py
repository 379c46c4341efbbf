"""The fields of a `DatasetJob` are checked once, before anything is read."""

import pytest

from pipeline import contract
from pipeline.jobs.dataset_job import DatasetJob


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"num_workers": 0}, "^num_workers=0 must be at least 1$"),
        (
            {"max_rejected_fraction": 1.5},
            "^max_rejected_fraction=1.5 must be from 0 to 1$",
        ),
        (
            {"max_rejected_fraction": float("nan")},
            "^max_rejected_fraction=nan must be from 0 to 1$",
        ),
    ],
)
def test_a_wrong_value_is_named(values, match):
    with pytest.raises(contract.DatasetError, match=match):
        DatasetJob("out", **values)


def test_workers_in_any_directory_find_the_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert DatasetJob("out/../faces").output == str(tmp_path / "faces")
    assert DatasetJob("s3://bucket/faces/").output == "s3://bucket/faces"


def test_every_run_has_an_id_of_its_own():
    assert DatasetJob("out").run_id != DatasetJob("out").run_id
