import dataclasses
import json
import os
import pathlib
import re

import pytest
from google.protobuf import json_format

from pipeline import contract, sources
from pipeline.dataset import examples, publishing, shards
from pipeline.formats import tfds_files
from pipeline.planning import plan
from pipeline.planning.dataset_settings import Settings
from pipeline.storage import paths


def make_publication(output, **changes) -> publishing.Publication:
    values = {
        "name": "d",
        "output": str(output),
        "settings": Settings(image_size=4),
        "source_fingerprint": "ab" * 32,
        "features": {
            "key": contract.Feature("string"),
            "image": contract.Feature("float16", (4, 4, 3)),
            "attributes": contract.Feature("int64", (2,), ("Bald", "Male")),
        },
        "shard_names": {
            "train": (
                "d-train.tfrecord-00000-of-00002",
                "d-train.tfrecord-00001-of-00002",
            ),
            "test": ("d-test.tfrecord-00000-of-00001",),
        },
        "num_images": 60,
        "max_rejected_fraction": 0.5,
    }
    return publishing.Publication(**{**values, **changes})


def make_results(publication, num_rejects=0, num_examples=20):
    results = []
    for split, names in publication.shard_names.items():
        for index, name in enumerate(names):
            rejects = tuple(
                examples.Reject(f"{split}{index}{at:03d}", "mode", "L instead of RGB")
                for at in reversed(range(num_rejects))
            )
            info = contract.ShardInfo(name, num_examples, 1000, f"{index}" * 64)
            results.append(shards.ShardResult(split, index, info, rejects, "p", "r"))
    return results


def test_the_order_of_the_results_does_not_matter(tmp_path):
    publication = make_publication(tmp_path)
    results = make_results(publication, num_rejects=2)
    digest = publishing.publish(publication, results)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert publishing.publish(publication, results[::-1]) == digest
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files
    assert set(files) == set(publishing.published_names(publication))


def test_the_manifest_has_the_plan_and_the_results(tmp_path):
    publication = make_publication(tmp_path)
    results = make_results(publication, num_rejects=2)
    digest = publishing.publish(publication, results)
    manifest = contract.load_manifest(tmp_path)
    assert manifest.digest == digest
    assert manifest.settings == {
        "source": "celeba",
        "image_size": 4,
        "image_dtype": "float16",
        "shard_size": 1024,
        "seed": 0,
        "resize": "bilinear",
        "crop_size": 0,
    }
    assert manifest.source_fingerprint == "ab" * 32
    assert manifest.features == publication.features
    assert list(manifest.splits) == ["train", "test"]
    assert manifest.splits["train"].num_examples == 40
    assert manifest.splits["train"].rejected == {"mode": 4}
    assert [shard.sha256[0] for shard in manifest.splits["train"].shards] == ["0", "1"]
    assert {"pillow", "numpy", "apache-beam", "libjpeg"} <= set(manifest.versions)


@pytest.mark.parametrize("num_channels", [1, 3])
def test_the_image_has_the_listings_channels(num_channels):
    listing = sources.Listing("d", [], {}, "ab", None, num_channels)
    features = publishing.image_features(listing, Settings(image_size=4))
    image = contract.Feature("float16", (4, 4, num_channels))
    assert features["image"] == image


def test_rejects_are_sorted_by_split_and_key(tmp_path):
    publication = make_publication(tmp_path)
    publishing.publish(publication, make_results(publication, num_rejects=2)[::-1])
    text = (tmp_path / contract.REJECTED_NAME).read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["split"], line["key"]) for line in lines] == [
        ("train", "train0000"),
        ("train", "train0001"),
        ("train", "train1000"),
        ("train", "train1001"),
        ("test", "test0000"),
        ("test", "test0001"),
    ]
    assert lines[0]["reason"] == "mode"
    assert lines[0]["detail"] == "L instead of RGB"


def test_too_many_rejects_name_the_first_ten_and_all_in_a_file(tmp_path):
    publication = make_publication(tmp_path, max_rejected_fraction=0.1)
    results = make_results(publication, num_rejects=4)
    with pytest.raises(
        contract.DatasetError, match="12 of 60 images were rejected, a fraction of 0.2"
    ) as error:
        publishing.publish(publication, results)
    text = str(error.value)
    assert "max_rejected_fraction=0.1" in text
    assert "train0000 (mode: L instead of RGB)" in text
    assert text.count("(mode: ") == 10
    assert "\n" not in text
    # The file of the rejects is there, and no file of a dataset.
    rejected = tmp_path / contract.REJECTED_NAME
    assert f"{rejected} names all of them" in text
    assert len(rejected.read_text().splitlines()) == 12
    assert list(tmp_path.iterdir()) == [rejected]
    given = re.search("`max_rejected_fraction=(.+)`$", text)
    assert given is not None
    publication = make_publication(tmp_path, max_rejected_fraction=float(given[1]))
    assert publishing.publish(publication, results)


def test_exactly_the_allowed_fraction_passes(tmp_path):
    publication = make_publication(tmp_path, max_rejected_fraction=0.2)
    results = make_results(publication, num_rejects=4)
    digest = publishing.publish(publication, results)
    manifest = contract.load_manifest(tmp_path)
    assert manifest.digest == digest
    num_rejected = sum(
        number
        for split in manifest.splits.values()
        for number in split.rejected.values()
    )
    assert (num_rejected, publication.num_images) == (12, 60)


def test_a_split_without_examples_is_an_error(tmp_path):
    publication = make_publication(tmp_path, max_rejected_fraction=1.0)
    with pytest.raises(contract.DatasetError, match="every image of split 'train'"):
        publishing.publish(publication, make_results(publication, num_examples=0))


@pytest.mark.parametrize("change", ["absent", "double", "unknown"])
def test_every_planned_shard_must_come_once(tmp_path, change):
    publication = make_publication(tmp_path)
    results = make_results(publication)
    if change == "absent":
        results.pop()
    elif change == "double":
        results.append(results[0])
    else:
        info = dataclasses.replace(results[0].info, name="x")
        results[0] = dataclasses.replace(results[0], info=info)
    with pytest.raises(
        RuntimeError, match="missing, duplicate or unknown shards: d-|x"
    ):
        publishing.publish(publication, results)
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_is_written_last(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        paths,
        "write_bytes",
        lambda path, data: written.append(os.path.basename(path)),
    )
    publication = make_publication(tmp_path)
    publishing.publish(publication, make_results(publication))
    assert written[-1] == contract.MANIFEST_NAME
    assert sorted(written) == sorted(publishing.published_names(publication))


def test_tfds_reads_the_features(tmp_path: pathlib.Path):
    tfds = pytest.importorskip("tensorflow_datasets")
    publication = make_publication(tmp_path)
    publishing.publish(publication, make_results(publication))
    info = tfds.builder_from_directory(tmp_path).info
    assert info.splits["train"].num_examples == 40
    assert info.splits["train"].shard_lengths == [20, 20]
    assert info.features["image"].shape == (4, 4, 3)
    assert info.features["attributes"].shape == (2,)


def test_the_files_of_tfds_are_its_own_json(tmp_path: pathlib.Path):
    pytest.importorskip("tensorflow_datasets")
    from tensorflow_datasets.core.proto import dataset_info_pb2, feature_pb2

    publication = make_publication(tmp_path)
    publishing.publish(publication, make_results(publication))
    for name, message in (
        (tfds_files.FEATURES_NAME, feature_pb2.Feature()),
        (tfds_files.DATASET_INFO_NAME, dataset_info_pb2.DatasetInfo()),
    ):
        text = (tmp_path / name).read_text()
        body = json_format.MessageToDict(json_format.Parse(text, message))
        assert json.dumps(body, indent=1, sort_keys=True) + "\n" == text


def test_a_publication_takes_the_planned_shards(tmp_path):
    planned = [
        plan.PlannedShard("d-train-0", "train", 0, 20, "ab"),
        plan.PlannedShard("d-train-1", "train", 1, 19, "cd"),
        plan.PlannedShard("d-test-0", "test", 0, 3, "ef"),
    ]
    publication = make_publication(tmp_path).with_shards(planned)
    assert publication.shard_names == {
        "train": ("d-train-0", "d-train-1"),
        "test": ("d-test-0",),
    }
    assert publication.num_images == 42
    assert publication.name == "d"
