"""Conditional runs as objects: attributes, and labels that are partly known."""

from typing import Any

import numpy as np
import pytest

import trainer
from tests.golden import golden_commands as golden
from trainer.api.run import Run
from trainer.runs import trained

NUM_ATTRIBUTES = 40


def load(name: str) -> Run:
    dataset, *_ = golden.TRAINED[name]
    return trainer.load_run(golden.HERE / name, dataset=golden.HERE / dataset)


@pytest.fixture(scope="module")
def by_attributes() -> Run:
    return load("run")


@pytest.fixture(scope="module")
def by_label() -> Run:
    return load("run_folder")


def test_attributes_are_told_as_records_tell_them(by_attributes: Run) -> None:
    run = trained.load(golden.HERE / "run", str(golden.HERE / "dataset"))
    batch = next(run.batches("test", 2))
    conditions = batch["attributes"]
    actual = by_attributes.encode(batch["image"], attributes=conditions)
    with np.load(golden.EXPECTED / "transform-test-num=2.npz") as expected:
        np.testing.assert_allclose(
            actual.mean, expected["posterior_mean"][:2], rtol=0, atol=1e-5
        )
        np.testing.assert_allclose(
            actual.log_var, expected["posterior_log_var"][:2], rtol=0, atol=1e-5
        )
    images = by_attributes.reconstruct(batch["image"], attributes=conditions)
    assert images.shape == (2, 16, 16, 3)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(
        images, by_attributes.decode(actual.mean, attributes=conditions)
    )


def test_a_condition_changes_what_is_made(by_attributes: Run, by_label: Run) -> None:
    zeros, ones = np.zeros(NUM_ATTRIBUTES, int), np.ones(NUM_ATTRIBUTES, int)
    z = np.zeros([3, 4])
    images = by_attributes.decode(z, attributes=zeros)
    assert images.shape == (3, 16, 16, 3)
    assert (images != by_attributes.decode(z, attributes=ones)).any()
    mixed = by_attributes.decode(z, attributes=np.stack([ones, zeros, zeros]))
    np.testing.assert_array_equal(mixed[1:], images[1:])
    assert (mixed[0] != images[0]).any()
    np.testing.assert_array_equal(
        by_attributes.sample(2, temperature=0.0, attributes=zeros), images[:2]
    )
    both = by_label.decode(z[:2], label=[0, 1])
    assert (both[0] != both[1]).any()
    np.testing.assert_array_equal(by_label.decode(z[:2], label=1)[0], both[1])


def test_samples_of_classes_are_of_each_in_turn(by_label: Run) -> None:
    images = by_label.sample(5, seed=1)
    assert images.shape == (5, 8, 8, 3)
    np.testing.assert_array_equal(
        images, by_label.sample(5, seed=1, label=[0, 1, 0, 1, 0])
    )
    assert (images != by_label.sample(5, seed=1, label=0)).any()


def test_a_label_may_be_unknown_where_few_are_known(by_label: Run) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, [2, 8, 8, 3])
    unknown = by_label.encode(images)
    assert unknown.mean.shape == (2, 4)
    np.testing.assert_array_equal(unknown.mean, by_label.encode(images, label=-1).mean)
    z = unknown.mean
    np.testing.assert_array_equal(
        by_label.decode(z), by_label.decode(z, label=[-1, -1])
    )
    assert (by_label.decode(z) != by_label.decode(z, label=1)).any()


def test_images_are_interpolated_under_one_condition(by_label: Run) -> None:
    first, second = np.random.default_rng(0).uniform(-1, 1, [2, 8, 8, 3])
    images = by_label.interpolate(first, second, 3, label=1)
    ends = by_label.reconstruct(np.stack([first, second]), label=1)
    np.testing.assert_array_equal(images[[0, -1]], ends)


ATTRIBUTES = np.zeros([3, NUM_ATTRIBUTES], int)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({}, "this model takes attributes=, but got none"),
        ({"label": 1}, "this model takes attributes=, but got label"),
        (
            {"attributes": ATTRIBUTES, "label": 1},
            "takes attributes=, but got attributes, label",
        ),
        ({"attributes": 1}, r"attributes must have the shape \[n, 40\], not \[\]"),
        (
            {"attributes": [0, 1]},
            r"attributes must have the shape \[n, 40\], not \[2\]",
        ),
        ({"attributes": ATTRIBUTES + 2}, "attributes must be 0 or 1"),
        ({"attributes": ATTRIBUTES - 1}, "attributes must be 0 or 1"),
        ({"attributes": ATTRIBUTES / 2}, "must hold integers, not float64"),
        ({"attributes": ATTRIBUTES[:0]}, "attributes is empty: give one value"),
        (
            {"attributes": ATTRIBUTES},
            "3 conditions do not fit 5 images: give one condition",
        ),
    ],
)
def test_wrong_attributes_are_refused(
    by_attributes: Run, condition: dict[str, Any], message: str
) -> None:
    images = np.zeros([5, 16, 16, 3], np.uint8)
    for use, given in (("encode", images), ("decode", np.zeros([5, 4])), ("sample", 5)):
        with pytest.raises(ValueError, match=message):
            getattr(by_attributes, use)(given, **condition)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"attributes": ATTRIBUTES}, "this model takes label=, but got attributes"),
        ({"label": 2}, "has the label 2, but the model's classes are 0 to 1"),
        ({"label": 1.0}, "label must hold integers, not float64"),
        ({"label": np.zeros([0], int)}, "label is empty: give one value"),
        ({"label": [0] * 7}, "7 conditions do not fit 5 images: give one condition"),
    ],
)
def test_wrong_labels_are_refused(
    by_label: Run, condition: dict[str, Any], message: str
) -> None:
    images = np.zeros([5, 200, 200, 3], np.uint8)
    for use, given in (("encode", images), ("decode", np.zeros([5, 4])), ("sample", 5)):
        with pytest.raises(ValueError, match=message):
            getattr(by_label, use)(given, **condition)
