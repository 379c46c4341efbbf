import json
import pathlib
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from tensorflow_datasets.proto import tf_example_pb2

from pipeline import contract, sources, verify
from pipeline.formats import records
from pipeline.images import squares
from pipeline.planning.dataset_settings import Settings
from pipeline.sources import splits
from pipeline.sources.tfds import tfds_info, tfds_reader
from tests.pipeline import calls
from tests.pipeline.sources.mnist.mnist_files import write_records

NAMES = ("celeb_a", "pets", "marks", "views")
VERSIONS = {"celeb_a": "2.1.0", "pets": "1.0.0", "marks": "1.0.0", "views": "1.0.0"}


def list_tfds(root, **settings) -> sources.Listing:
    return sources.list_images("tfds", str(root), settings)


def fails(match: str):
    return pytest.raises(contract.DatasetError, match=match)


def read_all(listing: sources.Listing) -> dict[str, np.ndarray]:
    reader = pickle.loads(pickle.dumps(listing.reader))
    pixels = {}
    for split in listing.by_split().values():
        reader.prefetch(split.keys, split.locations)
        for key, location in zip(split.keys, split.locations, strict=True):
            pixels[key] = reader.read(key, location)
    return pixels


def labels_of(listing: sources.Listing, name: str) -> dict[str, list[int]]:
    return {
        key: np.atleast_1d(values).tolist()
        for split in listing.by_split().values()
        for key, values in zip(split.keys, split.features[name], strict=True)
    }


def expected_of(prepared, name: str) -> dict[str, dict[str, np.ndarray]]:
    """Returns the features that TensorFlow Datasets reads, by our key and by name."""
    expected: dict[str, dict[str, np.ndarray]] = {}
    for path, value in np.load(prepared / f"{name}.npz").items():
        split, place, feature = path.split("/", 2)
        key = f"{splits.SPLIT_OF_NAME.get(split, split)}-{int(place):05d}"
        expected.setdefault(key, {})[feature] = value
    return {k: v for k, v in expected.items() if not k.startswith("unlabeled")}


@pytest.fixture
def pets(prepared, tmp_path) -> pathlib.Path:
    """Returns a copy of a data set's version, which a test may change."""
    return shutil.copytree(prepared / "pets" / "1.0.0", tmp_path / "pets" / "1.0.0")


def shard(root: pathlib.Path, split: str, index: int) -> pathlib.Path:
    return root / f"{root.parent.name}-{split}.tfrecord-{index:05d}-of-00002"


def frames(path: pathlib.Path) -> list[bytes]:
    return list(records.read_frames(path))


def set_lengths(root: pathlib.Path, split: str, lengths: list[int]) -> None:
    path = root / "dataset_info.json"
    body = json.loads(path.read_text())
    [split_info] = [each for each in body["splits"] if each["name"] == split]
    split_info["shardLengths"] = [str(length) for length in lengths]
    path.write_text(json.dumps(body))


def run(root, output, **settings) -> contract.Manifest:
    return calls.prepare(
        Settings(source="tfds", image_size=8, shard_size=8, **settings),
        input_dir=str(root),
        output=str(output),
        max_rejected_fraction=0.2,
    )


@pytest.mark.parametrize("name", NAMES)
def test_pixels_are_those_that_tfds_reads(prepared, name):
    listing = list_tfds(prepared / name / VERSIONS[name])
    expected = expected_of(prepared, name)
    actual = read_all(listing)
    assert actual.keys() == expected.keys()
    image = "photo" if name == "views" else "image"
    for key, pixels in actual.items():
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, expected[key][image])
    assert listing.name == name
    for split in listing.by_split().values():
        assert list(split.keys) == sorted(split.keys)


def test_classes_are_labels(prepared, caplog):
    with caplog.at_level("INFO", logger="absl"):
        listing = list_tfds(prepared / "pets" / "1.0.0")
    assert "unused features: file_name, weight" in caplog.text
    assert "unused splits: unlabeled" in caplog.text
    assert listing.features == {
        "label": contract.Feature("int64", (), ("cat", "dog", "emu"))
    }
    expected = expected_of(prepared, "pets")
    # TensorFlow Datasets uses -1 for a missing label.
    assert {int(labels["species"]) for labels in expected.values()} == {-1, 0, 1, 2}
    assert labels_of(listing, "label") == {
        key: [labels["species"]] for key, labels in expected.items()
    }
    assert list(listing.by_split()) == ["train", "validation", "test"]
    assert listing.split_fractions is None
    assert listing.num_channels == 3


def test_classes_may_have_no_names_and_images_be_grey(prepared):
    listing = list_tfds(prepared / "marks" / "1.0.0")
    assert listing.num_channels == 1
    assert listing.features == {"label": contract.Feature("int64")}
    expected = expected_of(prepared, "marks")
    assert labels_of(listing, "label") == {
        key: [labels["label"]] for key, labels in expected.items()
    }
    assert all(pixels.shape == (12, 10, 1) for pixels in read_all(listing).values())


def test_celeb_a_is_what_the_official_files_are(prepared, faces):
    official = sources.list_images("celeba", str(faces))
    listing = list_tfds(prepared / "celeb_a" / "2.1.0")
    assert listing.features == official.features
    assert len(listing.features["attributes"].names) == 40
    assert {n: len(s.keys) for n, s in listing.by_split().items()} == {
        name: len(split.keys) for name, split in official.by_split().items()
    }
    pixels_of = {
        key: squares.decode(data).tobytes() for key, data in read_all(official).items()
    }
    for name in ("attributes", "landmarks"):
        expected = labels_of(official, name)
        by_pixels = {pixels_of[key]: values for key, values in expected.items()}
        assert len(by_pixels) == 30
        actual = labels_of(listing, name)
        for key, pixels in read_all(listing).items():
            assert actual[key] == by_pixels[pixels.tobytes()]


def test_what_tfds_loads_as_celeb_a_is_what_is_expected(prepared):
    spec = json.loads((prepared / "mock.json").read_text())
    info = tfds_info.read_info(str(prepared / "celeb_a" / "2.1.0"))
    assert spec.pop(info.image) == ["uint8", [218, 178, 3]]
    assert spec.pop("identity/Identity_No") == ["int64", []]
    types = {"attributes": "bool", "landmarks": "int64"}
    assert spec == {
        scalar: [types[name], []]
        for name, label in info.labels.items()
        for scalar in label.scalars
    }


def test_a_single_split_is_divided(prepared):
    root = prepared / "views" / "1.0.0"
    listing = list_tfds(root)
    assert listing.features == {}
    assert listing.split_fractions == splits.DEFAULT_FRACTIONS
    keys = {name: set(split.keys) for name, split in listing.by_split().items()}
    assert list(keys) == ["train", "validation", "test"]
    assert set.union(*keys.values()) == {f"train-{place:05d}" for place in range(40)}
    assert sum(map(len, keys.values())) == 40
    chosen = list_tfds(root, split_fractions=(0.5, 0.5, 0.0), seed=3)
    assert list(chosen.by_split()) == ["train", "validation"]
    assert chosen.split_fractions == (0.5, 0.5, 0.0)
    other = list_tfds(root, split_fractions=(0.5, 0.5, 0.0), seed=4)
    assert set(other.by_split()["train"].keys) != set(chosen.by_split()["train"].keys)
    assert listing.fingerprint == other.fingerprint
    with fails(
        "none of the 40 images falls in split 'test', which should have a fraction of "
        "1e-05"
    ):
        list_tfds(root, split_fractions=(0.99999, 0.0, 0.00001))


def test_splits_that_are_there_are_not_divided(prepared, pets):
    with fails("splits train, val, test, unlabeled: leave `split_fractions` out"):
        list_tfds(pets, split_fractions=(1.0, 0.0, 0.0))
    path = pets / "dataset_info.json"
    path.write_text(path.read_text().replace('"unlabeled"', '"valid"'))
    with fails("val and valid both mean the validation split; give another data set"):
        list_tfds(pets)


def test_the_parent_of_one_version_will_do(prepared, pets, tmp_path):
    expected = list_tfds(prepared / "pets" / "1.0.0").fingerprint
    (tmp_path / "pets" / "incomplete.X_1.1.0").mkdir()
    (tmp_path / "pets" / "incomplete.X_1.1.0" / "dataset_info.json").write_text("{}")
    # The grandparent works too, because a config may lie between name and version.
    for path in (pets, pets.parent, tmp_path):
        assert list_tfds(path).fingerprint == expected


def test_how_it_is_cut_into_shards_makes_no_difference(prepared, pets, tmp_path):
    before = run(prepared / "pets", tmp_path / "before")
    data = b"".join(shard(pets, "train", index).read_bytes() for index in range(2))
    (pets / "pets-train.tfrecord-00000-of-00001").write_bytes(data)
    for index in range(2):
        shard(pets, "train", index).unlink()
    set_lengths(pets, "train", [20])
    assert run(pets, tmp_path / "after").digest == before.digest


def test_the_fingerprint_and_the_locations_see_a_change(pets):
    before = list_tfds(pets)
    path = shard(pets, "train", 1)
    framed_records = frames(path)
    example = tf_example_pb2.Example.FromString(records.unframed(framed_records[3]))
    label = example.features.feature["species"].int64_list.value
    label[0] = (label[0] + 1) % 3
    encoded = [records.unframed(framed) for framed in framed_records]
    encoded[3] = example.SerializeToString()
    write_records(path, encoded)
    after = list_tfds(pets)
    assert after.fingerprint != before.fingerprint
    changed = (
        before.by_split()["train"].locations[:, 2:]
        != after.by_split()["train"].locations[:, 2:]
    ).any(axis=1)
    assert np.flatnonzero(changed).tolist() == [13]
    # A record that changes after the listing is refused.
    with fails(r"00001-of-00002 changed after it was listed \("):
        before.reader.read("train-00013", before.by_split()["train"].locations[13])
    path.unlink()
    train = before.by_split()["train"]
    for read in (
        lambda: before.reader.read("k", train.locations[13]),
        lambda: before.reader.prefetch(train.keys, train.locations),
    ):
        with fails("cannot read .*pets-train.tfrecord-00001-of-00002: .*No such file"):
            read()


def test_damaged_records_are_rejected(pets, tmp_path):
    path = shard(pets, "train", 0)
    framed_records = frames(path)
    offset = sum(map(len, framed_records[:4]))
    data = bytearray(path.read_bytes())
    # Damage the tag of the features, so nothing of the record can be parsed.
    data[offset + 12] ^= 255
    path.write_bytes(data)
    manifest = run(pets, tmp_path / "out")
    assert manifest.splits["train"].rejected == {"checksum": 1}
    [line] = (tmp_path / "out" / contract.REJECTED_NAME).read_text().splitlines()
    assert json.loads(line)["key"] == "train-00004"
    assert verify.find_faults(str(tmp_path / "out"), manifest) == []


def test_a_record_that_is_restored_after_its_listing_is_an_error(pets, tmp_path):
    # The damaged record was listed with zeros for labels, which would be wrong for the
    # restored image.
    path = shard(pets, "train", 0)
    sound = path.read_bytes()
    data = bytearray(sound)
    data[sum(map(len, frames(path)[:4])) + 12] ^= 255
    path.write_bytes(data)
    listing = list_tfds(pets)
    path.write_bytes(sound)
    locations = listing.by_split()["train"].locations
    reader = pickle.loads(pickle.dumps(listing.reader))
    with fails("train-00004 in .* was damaged when it was listed, but is sound now: m"):
        reader.read("train-00004", locations[4])
    assert reader.read("train-00005", locations[5]).shape[2] == 3
    fresh = run(pets, tmp_path / "fresh")
    path.write_bytes(data)
    assert run(pets, tmp_path / "out").digest != fresh.digest
    path.write_bytes(sound)
    assert run(pets, tmp_path / "out").digest == fresh.digest


def test_records_without_an_image_are_rejected(pets, tmp_path):
    example = tf_example_pb2.Example()
    example.features.feature["species"].int64_list.value.append(2)
    write_records(shard(pets, "test", 0), [example.SerializeToString()] * 2)
    listing = list_tfds(pets)
    with pytest.raises(
        squares.RejectedImageError, match="missing.*0 images named imag"
    ):
        listing.reader.read("test-00000", listing.by_split()["test"].locations[0])


def test_records_hold_what_was_read(prepared, tmp_path):
    manifest = run(prepared / "pets", tmp_path, image_dtype="float32")
    expected = expected_of(prepared, "pets")
    actual = {}
    for path in tmp_path.glob("pets-*.tfrecord-*"):
        for framed in frames(path):
            example = tf_example_pb2.Example.FromString(records.unframed(framed))
            feature = example.features.feature
            key = feature["key"].bytes_list.value[0].decode()
            actual[key] = list(feature["label"].int64_list.value)
            image = np.frombuffer(feature["image"].bytes_list.value[0], "<f4")
            pixels = squares.preprocess(
                expected[key]["image"],
                image_size=8,
                image_dtype="float32",
                resize="bilinear",
                crop_size=0,
            )
            np.testing.assert_array_equal(image.reshape(8, 8, 3), pixels)
    assert actual == {key: [value["species"]] for key, value in expected.items()}
    with fails("is a dataset that pipeline.prepare made: train on it with `dataset`"):
        list_tfds(tmp_path)
    assert manifest.features["label"].names == ("cat", "dog", "emu")


def test_any_number_of_workers_makes_the_same_bytes(prepared, tmp_path):
    digests = []
    for number in (1, 2):
        program = [sys.executable, "-m", "pipeline.prepare", "--source=tfds"]
        program += [f"--input={prepared / 'celeb_a' / '2.1.0'}", "--shard_size=8"]
        program += [f"--output={tmp_path / str(number)}", f"--num_workers={number}"]
        if number == 2:
            program.append("--direct_running_mode=multi_processing")
        done = subprocess.run(program, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        digests.append(done.stdout)
    assert digests[0] == digests[1]
    manifest = contract.load_manifest(tmp_path / "2")
    assert manifest.image_shape == (128, 128, 3)
    assert manifest.splits["train"].num_examples == 24
    assert verify.find_faults(str(tmp_path / "2"), manifest) == []


def test_a_worker_does_not_import_tensorflow(prepared):
    listing = list_tfds(prepared / "celeb_a")
    location = listing.by_split()["test"].locations[0]
    program = (
        "import pickle, sys\n"
        "reader, location = pickle.load(sys.stdin.buffer)\n"
        "print(reader.read('k', location).shape, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps((listing.reader, location)),
        capture_output=True,
        timeout=60,
    )
    assert done.stdout == b"(218, 178, 3) False\n", done.stderr
    assert isinstance(listing.reader, tfds_reader.RecordReader)
