"""Errors of `tfds_info` and `tfds_shards` for directories that cannot be used."""

import copy
import json
import pathlib
import shutil

import pytest
from tensorflow_datasets.proto import tf_example_pb2

from pipeline import contract, sources
from tests.pipeline.sources.mnist.mnist_files import write_records


@pytest.fixture
def marks(prepared, tmp_path) -> pathlib.Path:
    """Returns a copy of a data set's version, which a test may change."""
    return shutil.copytree(prepared / "marks" / "1.0.0", tmp_path / "marks" / "1.0.0")


def fails(root: pathlib.Path, match: str) -> None:
    with pytest.raises(contract.DatasetError, match=match) as error:
        sources.list_images("tfds", str(root))
    assert "\n" not in str(error.value)


def change(path: pathlib.Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_features(root: pathlib.Path, make_features) -> None:
    """Replaces the features in features.json by `make_features(features)`."""
    path = root / "features.json"
    body = json.loads(path.read_text())
    features = body["featuresDict"]["features"]
    body["featuresDict"]["features"] = make_features(copy.deepcopy(features))
    path.write_text(json.dumps(body))


def test_no_prepared_data_set(tmp_path):
    fails(tmp_path / "absent", "absent does not exist: give a directory that TensorFl")
    fails(tmp_path, "has no dataset_info.json: give .* as DATA_DIR/celeb_a/2.1.0")
    (tmp_path / "x.tfrecord").write_bytes(b"")
    fails(tmp_path / "x.tfrecord", "x.tfrecord is a file: give a directory")


def test_several_versions_are_not_guessed_between(marks, prepared):
    shutil.copytree(marks, marks.with_name("1.1.0"))
    fails(marks.parent, "has 2 prepared data sets, 1.0.0, 1.1.0: give the directory of")
    fails(
        prepared, "4 prepared data sets, celeb_a/2.1.0, marks/1.0.0, pets/1.0.0, views/"
    )


@pytest.mark.parametrize("name", ["array_record", "riegeli", "parquet"])
def test_other_file_formats(marks, name):
    change(marks / "dataset_info.json", fileFormat=name)
    fails(marks, f"format {name}, but only tfrecord .* tfds build --file_format=tfrec")


def test_old_data_sets_have_tfrecord_files(marks):
    body = json.loads((marks / "dataset_info.json").read_text())
    del body["fileFormat"]
    (marks / "dataset_info.json").write_text(json.dumps(body))
    listing = sources.list_images("tfds", str(marks))
    assert {n: len(s.keys) for n, s in listing.by_split().items()} == {
        "train": 9,
        "test": 5,
    }


def test_damaged_descriptions(marks):
    info, features = marks / "dataset_info.json", marks / "features.json"
    sound = features.read_text()
    features.write_text('{"type": "FeaturesDict", "content": {}}')
    fails(marks, r"is not as TensorFlow Datasets 4.5 .* \(KeyError: 'featuresDict'\)")
    features.write_text("[]")
    fails(marks, "not as TensorFlow Datasets 4.5 and later write it .TypeError.*prepar")
    features.write_text("{")
    fails(marks, "cannot read .*features.json: .*; prepare the data set again")
    features.unlink()
    fails(marks, "has no features.json: prepare it again")
    features.write_text(sound)
    change(info, splits=[{"name": "train"}])
    fails(marks, r"\(KeyError: 'shardLengths'\): prepare it again")
    change(info, splits=[])
    fails(marks, "has no split: prepare it again")
    change(info, splits=[{"name": "train", "shardLengths": []}])
    fails(marks, "has the splits train, but train is empty: prepare the data")
    change(info, splits=[{"name": "labelled", "shardLengths": ["9"]}])
    fails(
        marks, "has the splits labelled, but none of train, validation, val, valid, t"
    )


def test_images_that_cannot_be_used(marks):
    sound = (marks / "features.json").read_text()
    for make_features, match in (
        (
            lambda features: {"label": features["label"]},
            r"has no feature of the type Image, only label \(ClassLabel\): give",
        ),
        (
            lambda features: {"left": features["image"], "right": features["image"]},
            "has 2 images in a record, left, right, and none is called image: give an",
        ),
        (
            lambda features: {
                "image": features["image"]
                | {"image": features["image"]["image"] | {"dtype": "uint16"}}
            },
            "has images of the type uint16: only uint8 can be used",
        ),
    ):
        change_features(marks, make_features)
        fails(marks, match)
        (marks / "features.json").write_text(sound)
    change_features(marks, lambda features: features | {"mask": features["image"]})
    assert sources.list_images("tfds", str(marks)).num_channels == 1


def test_labels_that_are_not_taken(marks, caplog):
    change_features(
        marks,
        lambda features: (
            features | {"coarse": features["label"], "attributes": features["label"]}
        ),
    )
    with caplog.at_level("INFO", logger="absl"):
        assert list(sources.list_images("tfds", str(marks)).features) == ["label"]
    assert "unused features: attributes, coarse" in caplog.text
    change_features(
        marks,
        lambda features: {
            "fine" if n == "label" else n: f for n, f in features.items()
        },
    )
    # With several class features and none named `label`, there is no label.
    assert sources.list_images("tfds", str(marks)).features == {}


def test_names_of_classes(marks):
    path = marks / "label.labels.txt"
    path.write_text("a\nb\n\nc \nd\n")
    label = sources.list_images("tfds", str(marks)).features["label"]
    assert label.names == ("a", "b", "c", "d")
    path.write_text("a\nb\nc\n")
    fails(marks, "label.labels.txt names 3 classes, but features.json says 4: prepare")
    path.write_bytes(b"\xff\n")
    fails(marks, "cannot read .*label.labels.txt: it is not UTF-8 text .byte 0xff")


def example(**labels: int) -> bytes:
    message = tf_example_pb2.Example()
    for name, value in labels.items():
        message.features.feature[name].int64_list.value.append(value)
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("record", "match"),
    [
        (b"\xff", "record 1 is not an Example"),
        (example(), "record 1 has no integer for label; give another"),
        (example(label=4), "record 1 has label from 4 to 4: expected -1 to 3; give"),
        (example(label=-2), "record 1 has label from -2 to -2: expected -1 to 3"),
    ],
)
def test_records_that_are_not_as_described(marks, record, match):
    path = marks / "marks-test.tfrecord-00000-of-00002"
    write_records(path, [example(label=3), record])
    fails(marks, f"cannot read {path}: {match}")


def test_shards_that_are_not_as_described(marks):
    path = marks / "marks-test.tfrecord-00001-of-00002"
    sound = path.read_bytes()
    write_records(path, [example(label=1)] * 2)
    fails(marks, "cannot read .*: it has 2 records, but dataset_info.json says 3; give")
    path.write_bytes(sound[:-1])
    fails(marks, "cannot read .*-00001-of-00002: record 2 is cut off; give another")
    path.write_bytes(bytes([sound[0] ^ 1]) + sound[1:])
    fails(marks, "cannot read .*-00001-of-00002: record 0 has a damaged header")
    path.unlink()
    fails(
        marks,
        "has 1 shard of split 'test' .marks-test.* instead of all shards of one da",
    )
    path.with_name("marks-test.tfrecord-00000-of-00002").rename(
        path.with_name("marks-test.tfrecord-00000-of-00001")
    )
    fails(marks, "has 1 shard of split 'test', but its dataset_info.json says 2: pre")
    path.with_name("marks-test.tfrecord-00000-of-00001").unlink()
    fails(marks, "has a dataset_info.json, but no marks-test.tfrecord-00000-of-00001")
