import pathlib

import numpy as np
import pytest

from pipeline.formats import records
from tests.pipeline.sources.mnist.mnist_files import (
    PREFIXES,
    Mnist,
    example,
    fails,
    list_mnist,
    write_records,
)


def test_encoded_images_may_have_their_longer_name(digits, tmp_path):
    expected = list_mnist(digits.write(tmp_path, "tfds")).fingerprint
    for split in PREFIXES:
        shard = zip(digits.pixels[split], digits.labels[split], strict=True)
        for path in tmp_path.glob(f"mnist-{split}.*"):
            path.unlink()
        write_records(
            tmp_path / f"fashion_mnist-{split}.tfrecord-00000-of-00001",
            [example(*values, name="image/encoded") for values in shard],
        )
    assert list_mnist(tmp_path).fingerprint == expected


def test_shards_of_tfds_that_are_missing(digits, tmp_path):
    digits.write(tmp_path, "tfds")
    (tmp_path / "mnist-test.tfrecord-00000-of-00002").unlink()
    fails(
        tmp_path,
        "has 1 shard of split 'test' .mnist-test.* instead of all shards of one da",
    )
    (tmp_path / "mnist-test.tfrecord-00001-of-00002").unlink()
    fails(
        tmp_path, "has a dataset_info.json, but no mnist-test.tfrecord-00000-of-00001"
    )
    for split in PREFIXES:
        write_records(tmp_path / f"mnist-{split}.tfrecord-00000-of-00001", [])
    for path in tmp_path.glob("*-of-00002"):
        path.unlink()
    fails(tmp_path, "split 'train' of input=.* has no image")


BLANK = np.zeros((28, 28), np.uint8)


@pytest.mark.parametrize(
    ("make_record", "match"),
    [
        (lambda: b"\xff", "record 1 is not an Example"),
        (lambda: b"", "record 1 has the features none: expected a PNG named image or"),
        (lambda: example(BLANK, None), "record 1 has the features image: expected a P"),
        (
            lambda: example(BLANK, 1, "x"),
            "record 1 has the features label, x: expected",
        ),
        (
            lambda: example(np.zeros((28, 28, 3), np.uint8), 1),
            "cannot be used .mode: RGB instead of L.; give",
        ),
        (lambda: example(BLANK[:20], 1), "record 1 has an image of 20 x 28 pixels"),
        (
            lambda: b"".join(
                records.encode_record(
                    "k", {"image": np.zeros((28, 28, 1))}, {"label": [1]}
                )
            ),
            "record 1 has an image that cannot be used .unreadable: no JPEG, PNG",
        ),
        (lambda: example(BLANK, 256), "from 0 to 256: labels must be from 0 to 255"),
    ],
)
def test_records_of_other_data_sets(digits, tmp_path, make_record, match):
    path = digits.write(tmp_path, "tfds") / "mnist-train.tfrecord-00000-of-00002"
    write_records(path, [example(BLANK, 0), make_record()])
    fails(tmp_path, match)


def test_a_damaged_shard_of_tfds(digits, tmp_path):
    path = digits.write(tmp_path, "tfds") / "mnist-train.tfrecord-00000-of-00002"
    path.write_bytes(path.read_bytes()[:-1])
    fails(tmp_path, "cannot read .*-00000-of-00002: record 11 is cut off; give another")


def dataset_of_tfds(root: pathlib.Path, digits: Mnist) -> None:
    """Writes records with TensorFlow Datasets itself."""
    tfds = pytest.importorskip("tensorflow_datasets")
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(28, 28, 1)),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
    )
    info = tfds.core.DatasetIdentity(
        name="mnist", version="3.0.1", data_dir=str(root), module_name="tests"
    )
    root.mkdir()
    writer = tfds.core.SequentialWriter(
        tfds.core.DatasetInfo(builder=info, features=features), max_examples_per_shard=7
    )
    writer.initialize_splits(list(PREFIXES))
    for split in PREFIXES:
        shard = zip(digits.pixels[split], digits.labels[split], strict=True)
        examples = [{"image": p[..., None], "label": label} for p, label in shard]
        writer.add_examples({split: examples})
    writer.close_all()
    # This writer keeps the order, but its file names lack the number of shards.
    for split in PREFIXES:
        paths = list(root.glob(f"mnist-{split}.tfrecord-*"))
        for path in paths:
            path.rename(f"{path}-of-{len(paths):05d}")


def test_what_tfds_writes_is_read(digits, tmp_path):
    expected = list_mnist(digits.write(tmp_path / "idx")).fingerprint
    dataset_of_tfds(tmp_path / "tfds", digits)
    assert len(list((tmp_path / "tfds").glob("mnist-train.tfrecord-*"))) == 4
    assert list_mnist(tmp_path / "tfds").fingerprint == expected
