import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from configs import celeba, celeba_debug, mnist_mlss
from pipeline import contract
from pipeline.formats import records
from tests.trainer.trained_runs import run_module, train
from trainer.analysis import examples
from trainer.cli import command_line
from trainer.data import input_pipeline
from trainer.generation import sampling
from trainer.models.conditions import Conditioning
from trainer.models.vae import make_vae
from trainer.runs import setting_checks, trained

FEATURES = {
    "key": contract.Feature("string"),
    "image": contract.Feature("float32", (28, 28, 1)),
    "label": contract.Feature("int64"),
    "attributes": contract.Feature("int64", (2,), ("Smiling", "Young")),
}
BATCH = {
    "image": tf.zeros([3, 28, 28, 1]),
    "label": tf.constant([2, 0, 9], tf.int64),
    "attributes": tf.constant([[0, 1], [1, 1], [0, 0]], tf.int64),
}


def manifest(*names: str) -> contract.Manifest:
    features = {name: FEATURES[name] for name in ("key", "image", *names)}
    return contract.Manifest("d", {}, "ab", features, {})


def conditioning(condition: str, num_classes: int = 3, labelled_fraction: float = 1.0):
    return Conditioning(condition, num_classes, labelled_fraction)


def test_a_label_is_one_of_its_classes() -> None:
    vectors = conditioning("label").vectors(BATCH)
    np.testing.assert_array_equal(vectors, [[0, 0, 1], [1, 0, 0], [0, 0, 0]])
    assert conditioning("label").vector_length(manifest("label")) == 3


@pytest.mark.parametrize(
    ("labels", "fraction", "message"),
    [
        ([0, 2, 1], 1.0, None),
        ([2], 1.0, None),
        (
            [0, 3],
            1.0,
            "label 3, but the model's classes are 0 to 2: .*num_classes=4 or",
        ),
        ([0, 3], 0.5, "label 3, but the model's classes are 0 to 2"),
        ([0, -1], 1.0, "label -1, which is not a class: .*labelled_fraction` below 1"),
        ([0, -1], 0.5, None),
        ([2**62], 1.0, f"label {2**62}, but the model's"),
    ],
)
def test_labels_are_classes_of_the_model(labels, fraction, message) -> None:
    conditions = conditioning("label", labelled_fraction=fraction)
    small = {"label": np.array(labels, np.int64)}
    if message is None:
        conditions.check_labels(small)
        return
    with pytest.raises(contract.DatasetError, match=message):
        conditions.check_labels(small)
    conditioning("none").check_labels({})


@pytest.mark.parametrize("is_training", [False, True])
def test_a_label_beyond_the_classes_ends_a_run_in_one_line(tmp_path, is_training):
    features = {**FEATURES, "image": contract.Feature("uint8", (1, 1, 1))}
    del features["attributes"]
    pixel = np.zeros([1, 1, 1], np.uint8)
    data = b"".join(
        part
        for number in range(4)
        for part in records.frame(
            *records.encode_record(str(number), {"image": pixel}, {"label": [number]})
        )
    )
    name = "d-train.tfrecord-00000-of-00001"
    (tmp_path / name).write_bytes(data)
    shards = (contract.ShardInfo(name, 4, len(data), "ab"),)
    created = contract.Manifest(
        "d", {}, "ab", features, {"train": contract.SplitInfo(shards)}
    )
    for num_classes in (4, 3):
        shared = {
            "global_batch_size": 4,
            "context": tf.distribute.InputContext(),
            "features": ["label"],
            "check": conditioning("label", num_classes).check_labels,
        }
        if is_training:
            batches = input_pipeline.training_batches(
                created,
                tmp_path,
                "train",
                seed=0,
                block_size=4,
                start_step=0,
                **shared,
            )
        else:
            batches = input_pipeline.evaluation_batches(
                created, tmp_path, "train", **shared
            )
        if num_classes == 4:
            assert sorted(next(iter(batches))["label"].numpy()) == [0, 1, 2, 3]
            continue
        with (
            pytest.raises(
                contract.DatasetError, match=r"^an image has the label 3, "
            ) as error,
            command_line.damage_explained(),
        ):
            next(iter(batches))
        assert len(str(error.value).splitlines()) == 1
        assert "damaged" not in str(error.value)


def test_attributes_are_signs() -> None:
    vectors = conditioning("attributes").vectors(BATCH)
    np.testing.assert_array_equal(vectors, [[-1, 1], [1, 1], [-1, -1]])
    assert conditioning("attributes").vector_length(manifest("attributes")) == 2


def test_nothing_is_a_vector_of_length_0() -> None:
    assert conditioning("none").vectors(BATCH).shape == (3, 0)
    assert conditioning("none").vector_length(manifest()) == 0


def test_samples_show_every_class_or_what_examples_have() -> None:
    examples = np.array([[1.0, -1.0], [-1.0, 1.0]])
    vectors = conditioning("attributes").sample_vectors(3, examples)
    np.testing.assert_array_equal(vectors, examples[[0, 1, 0]])
    vectors = conditioning("label").sample_vectors(4, examples)
    np.testing.assert_array_equal(vectors, np.eye(3)[[0, 1, 2, 0]])


@pytest.mark.parametrize(
    ("condition", "num_classes", "message"),
    [
        (
            "label",
            3,
            "needs a dataset with the feature 'label', but this dataset has key",
        ),
        ("attributes", 3, "needs a dataset with the feature 'attributes'"),
    ],
)
def test_conditions_that_cannot_be_had_are_named(
    condition: str, num_classes: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        conditioning(condition, num_classes).vector_length(manifest())
    unknown = celeba.get_config()
    unknown.condition = "digit"
    with pytest.raises(ValueError, match="must be one of none, label, attributes"):
        setting_checks.check(unknown)
    with pytest.raises(ValueError, match="num_classes=0 must be at least 1"):
        conditioning("label", 0).vector_length(manifest("label"))
    named = dataclasses.replace(FEATURES["label"], names=("cat", "dog", "owl"))
    three = contract.Manifest("d", {}, "ab", {**FEATURES, "label": named}, {})
    assert conditioning("label", 3).vector_length(three) == 3
    with pytest.raises(
        ValueError, match="num_classes=2 must be at least 3, the number of cl"
    ):
        conditioning("label", 2).vector_length(three)


def test_both_halves_of_the_model_depend_on_the_condition() -> None:
    for created in (
        make_vae(mnist_mlss.get_config(), (28, 28, 1), 3),
        make_vae(celeba_debug.get_config(), (32, 32, 3), 3),
    ):
        images = tf.zeros([2, *created.encoder.inputs[0].shape[1:]])
        conditions = tf.constant([[1.0, 0, 0], [0, 1, 0]])
        mean, _ = created.encode(images, conditions)
        assert np.abs(mean[0] - mean[1]).max() > 1e-4
        decoded = created.mean_image(tf.zeros(mean.shape), conditions)
        assert np.abs(decoded[0] - decoded[1]).max() > 1e-4


@pytest.mark.slow
def test_a_conditional_model_is_trained_scored_and_sampled(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    flags = ("--config.condition=attributes", "--config.num_train_steps=5")
    runs = [
        train(dataset_dir, tmp_path / str(num), *flags, f"--virtual_devices={num}")
        for num in (1, 2)
    ]
    for run in runs:
        assert run.returncode == 0, run.output
    assert runs[0].metrics() == runs[1].metrics()
    assert runs[0].metrics("validation") == runs[1].metrics("validation")
    loaded = trained.load(runs[0].workdir)
    z = np.repeat(sampling.draw_prior(loaded, 1, seed=0), 2, axis=0)
    conditions = [
        examples.find_conditions(loaded, "train", 1, f"Smiling={value}")
        for value in (0, 1)
    ]
    created = sampling.decode(loaded, z, np.concatenate(conditions), seed=0)
    assert np.abs(created.mean[0] - created.mean[1]).max() > 1e-4
    done = run_module("trainer.evaluate", f"--workdir={runs[0].workdir}")
    assert done.returncode == 0, done.stderr
