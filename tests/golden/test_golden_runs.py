"""Reads golden runs bit for bit, and resumes them to the losses recorded back then."""

import json
import pathlib
import shutil
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator

from tests.golden import golden_commands as golden

# Relative tolerance of losses, because processors round differently.
TOLERANCE = 1e-5


def copy(name: str, tmp_path: pathlib.Path) -> pathlib.Path:
    return shutil.copytree(golden.HERE / name, tmp_path / name)


def environment(workdir: pathlib.Path) -> Any:
    return json.loads((workdir / "environment.json").read_text())


def check_metrics(name: str, workdir: pathlib.Path) -> None:
    """Checks all rows, bit for bit if the environment is the golden one."""
    actual, expected = golden.metrics(workdir), golden.expected(f"metrics-{name}")
    if environment(workdir) == environment(golden.HERE / name):
        assert actual == expected
    assert [row.keys() for row in actual] == [row.keys() for row in expected]
    for row, target in zip(actual, expected, strict=True):
        for metric in ("step", "split", "ledger", "learning_rate"):
            assert row.get(metric) == target.get(metric), row
        for metric in ("loss", "elbo", "recon_nll"):
            assert row[metric] == pytest.approx(target[metric], rel=TOLERANCE), row


@pytest.mark.parametrize("name", golden.TRAINED)
def test_a_checkpoint_is_what_was_written(name: str) -> None:
    arrays = golden.arrays(golden.HERE / name, golden.STOPPED_AT)
    assert golden.hashes(arrays) == golden.expected(f"arrays-{name}")


@pytest.mark.parametrize("name", golden.TRAINED)
def test_a_run_goes_on_as_if_it_had_not_stopped(
    name: str, tmp_path: pathlib.Path
) -> None:
    workdir = copy(name, tmp_path)
    golden.train(name, golden.HERE, workdir, golden.ENDED_AT)
    check_metrics(name, workdir)
    before = golden.arrays(workdir, golden.STOPPED_AT)
    after = golden.arrays(workdir, golden.ENDED_AT)
    assert list(after) == list(before)
    for array, changed in zip(before.values(), after.values(), strict=True):
        assert (changed.dtype, changed.shape) == (array.dtype, array.shape)
    events = event_accumulator.EventAccumulator(
        str(workdir / "train"), size_guidance={"tensors": 0}
    )
    events.Reload()
    steps = [event.step for event in events.Tensors("objective/loss")]
    assert steps == list(range(1, golden.ENDED_AT + 1))


def test_a_run_begins_as_before(tmp_path: pathlib.Path) -> None:
    # The default of a setting that the run did not know.
    before = "--config.batch_norm_warmup=False"
    golden.train("run", golden.HERE, tmp_path / "run", golden.ENDED_AT, before)
    check_metrics("run", tmp_path / "run")


def test_a_run_has_its_scores(tmp_path: pathlib.Path) -> None:
    # The evaluation accepts only latents that the run's own weights made.
    actual = golden.evaluate(copy("run", tmp_path), golden.HERE)
    expected = golden.expected("evaluation")
    assert (
        actual["probe"]["attributes"].keys() == expected["probe"]["attributes"].keys()
    )
    for scores in (actual, expected):
        scores.pop("probe")
        assert scores.pop("split") == "test"
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize("mode", golden.GENERATED)
def test_a_run_makes_the_same_images(mode: str, tmp_path: pathlib.Path) -> None:
    workdir, file = copy("run", tmp_path), golden.GENERATED[mode]
    golden.generate(workdir, golden.HERE / "dataset", mode)
    with (
        np.load(workdir / "generated" / file) as arrays,
        np.load(golden.EXPECTED / file) as expected,
    ):
        actual = dict(arrays)
        if "mean" in actual:
            # The expected file has the mean from 0 to 1.
            actual["probability"] = (actual.pop("mean") + 1) / 2
        assert actual.keys() == set(expected)
        for name, values in expected.items():
            assert actual[name].dtype == values.dtype
            if values.dtype.kind == "f":
                np.testing.assert_allclose(actual[name], values, rtol=0, atol=1e-5)
            else:
                np.testing.assert_array_equal(actual[name], values)


def test_a_run_has_its_report(tmp_path: pathlib.Path) -> None:
    workdir, page = copy("run", tmp_path), tmp_path / "page.html"
    golden.run("trainer.report", f"--workdir={workdir}", f"--output={page}")
    assert "step 8" in page.read_text()
