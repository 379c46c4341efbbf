import json

import pytest
from google.protobuf import json_format

from pipeline import contract
from pipeline.formats import tfds_files

FEATURES = {
    "key": contract.Feature("string"),
    "image": contract.Feature("float16", (4, 4, 3)),
    "attributes": contract.Feature("int64", (2,), ("Bald", "Male")),
    "label": contract.Feature("int64", (), ("cat", "Hund ä")),
    "number": contract.Feature("int64"),
}


def manifest(features=FEATURES) -> contract.Manifest:
    shard = contract.ShardInfo("d-train.tfrecord-00000-of-00001", 2, 100, "ab" * 32)
    splits = {"train": contract.SplitInfo((shard,))}
    return contract.Manifest("d", {}, "ab" * 32, features, splits)


def test_the_named_files_are_the_files():
    assert list(tfds_files.file_texts(manifest())) == tfds_files.file_names(FEATURES)
    assert tfds_files.file_names({"number": FEATURES["number"]}) == [
        "features.json",
        "dataset_info.json",
    ]


def test_a_scalar_with_names_is_a_class_label(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    for name, text in tfds_files.file_texts(manifest()).items():
        (tmp_path / name).write_text(text)
    features = tfds.builder_from_directory(tmp_path).info.features
    assert isinstance(features["label"], tfds.features.ClassLabel)
    assert features["label"].names == ["cat", "Hund ä"]
    for name in ("number", "attributes"):
        assert not isinstance(features[name], tfds.features.ClassLabel)


def test_the_files_are_the_json_of_protocol_buffers():
    pytest.importorskip("tensorflow_datasets")
    from tensorflow_datasets.core.proto import dataset_info_pb2, feature_pb2

    texts = tfds_files.file_texts(manifest())
    for name, message in (
        (tfds_files.FEATURES_NAME, feature_pb2.Feature()),
        (tfds_files.DATASET_INFO_NAME, dataset_info_pb2.DatasetInfo()),
    ):
        body = json_format.MessageToDict(json_format.Parse(texts[name], message))
        assert json.dumps(body, indent=1, sort_keys=True) + "\n" == texts[name]
