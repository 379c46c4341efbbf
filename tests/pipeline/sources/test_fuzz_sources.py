"""Any file of a source is read, or raises the source's own error."""

import gzip
import io
import json
import pathlib
import zipfile
import zlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from pipeline import contract, sources
from pipeline.formats import records
from pipeline.images import squares
from pipeline.sources.celeba import celeba, labels
from pipeline.sources.listing import archives
from pipeline.sources.mnist import idx, npz, tfds_records
from pipeline.sources.tfds import tfds
from tests.fuzzing import JSON_TEXTS, changed, changed_json, reads_or_refuses
from tests.pipeline.sources.mnist.mnist_files import example, idx_bytes

KEYS = [f"{number:06d}.jpg" for number in range(1, 4)]
PARTITION = "".join(f"{key} {split}\n" for split, key in enumerate(KEYS)).encode()
ATTRIBUTES = "3\nBald Male\n" + "".join(f"{key}  1 -1\n" for key in KEYS)
ATTRIBUTES_TABLE = "image_id,Bald,Male\n" + "".join(f"{key},1,-1\n" for key in KEYS)
PIXELS = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)


def zip_bytes(compression: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for key in KEYS:
            archive.writestr(f"img_align_celeba/{key}", key.encode() * 9)
    return file.getvalue()


def npz_bytes(**values: np.ndarray) -> bytes:
    np.savez_compressed(file := io.BytesIO(), **values)
    return file.getvalue()


ZIPS = [zip_bytes(zipfile.ZIP_STORED), zip_bytes(zipfile.ZIP_DEFLATED)]
NPZ = npz_bytes(
    x_train=PIXELS, y_train=np.arange(2), x_test=PIXELS / 255, y_test=np.arange(2)
)
KIND = "tensorflow_datasets.core.features"
FEATURES = {
    "pythonClassName": f"{KIND}.features_dict.FeaturesDict",
    "featuresDict": {
        "features": {
            "image": {
                "pythonClassName": f"{KIND}.image_feature.Image",
                "image": {"shape": {"dimensions": ["28", "28", "1"]}, "dtype": "uint8"},
            },
            "label": {
                "pythonClassName": f"{KIND}.class_label_feature.ClassLabel",
                "classLabel": {"numClasses": "3"},
            },
            "attributes": {
                "pythonClassName": f"{KIND}.features_dict.FeaturesDict",
                "featuresDict": {
                    "features": {
                        "Bald": {
                            "pythonClassName": f"{KIND}.tensor_feature.Tensor",
                            "tensor": {"dtype": "bool"},
                        }
                    }
                },
            },
        }
    },
}
INFO = {
    "name": "d",
    "fileFormat": "tfrecord",
    "splits": [{"name": "train", "shardLengths": ["2"]}],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("fuzz")


def any_text(sound: bytes) -> st.SearchStrategy[bytes]:
    """Returns a strategy for text files: bytes, changes, lines or other encodings."""
    lines = st.lists(
        st.sampled_from([*sound.decode().splitlines(), "9" * 5000, "\0", "1 2 3", ""])
        | st.text(max_size=20),
        max_size=8,
    )
    return (
        st.binary(max_size=60)
        | changed(sound)
        | lines.map(lambda texts: "\n".join(texts).encode())
        | st.sampled_from(["utf-8-sig", "utf-16", "utf-32", "cp500"]).map(
            lambda encoding: sound.decode().encode(encoding)
        )
    )


def any_table(sound: str):
    """Returns a strategy for CSV: usual cells in any order, or a damaged table."""
    cells = st.sampled_from(
        ["000001.jpg", "image_id", "Male", "0", "-1", "1", "True", "", '"', "\n", ";"]
    )
    return (
        st.lists(cells, max_size=20).map(lambda texts: ",".join(texts).encode())
    ) | changed(sound.encode())


def parquet_bytes(key: str) -> bytes:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    cells = [{"bytes": key.encode() * 9, "path": key}]
    columns = {"image": pa.array(cells, kind), "Male": pa.array([True])}
    parquet.write_table(pa.table(columns), file := io.BytesIO(), compression="none")
    return file.getvalue()


PARQUET = {
    f"{split}.parquet": parquet_bytes(key)
    for split, key in zip(contract.SPLITS, KEYS, strict=True)
}


@pytest.mark.parametrize("name", PARQUET)
@given(data=st.data())
def test_any_parquet(data, name, root):
    folder = root / "parquet"
    folder.mkdir(exist_ok=True)
    for its_name, sound in PARQUET.items():
        drawn = data.draw(changed(sound)) if its_name == name else sound
        (folder / its_name).write_bytes(drawn)

    reads_or_refuses(
        contract.DatasetError,
        squares.RejectedImageError,
        call=lambda: read_all(celeba.list_images(str(folder))),
        check=check_parquet,
    )


def read_all(listing: sources.Listing) -> dict[str, Any]:
    """Returns what the reader gives for each key."""
    return {
        key: listing.reader.read(key, location)
        for table in listing.by_split().values()
        for key, location in zip(table.keys, table.locations, strict=True)
    }


def check_parquet(images: dict[str, bytes]) -> None:
    assert len(images) == len(PARQUET)
    sound = [key.encode() * 9 for key in KEYS]
    # One file is drawn, and the others are sound.
    assert sum(data in sound for data in images.values()) >= len(PARQUET) - 1


@given(data=any_text(PARTITION) | any_table(PARTITION.decode().replace(" ", ",")))
def test_any_partition(data, root):
    path = root / "partition.txt"
    path.write_bytes(data)

    def check(split_of):
        assert set(split_of.values()) == set(contract.SPLITS)

    reads_or_refuses(
        contract.DatasetError,
        call=lambda: celeba.read_partition(str(path)),
        check=check,
    )


@given(
    data=any_text(ATTRIBUTES.encode()) | any_table(ATTRIBUTES_TABLE),
    is_binary=st.booleans(),
)
def test_any_labels(data, is_binary, root):
    path = root / "labels.txt"
    path.write_bytes(data)

    def check(actual):
        assert actual.values.shape[1:] == actual.feature.shape
        assert len(actual.rows([*actual.row_of, "absent"])) == len(actual.row_of) + 1

    reads_or_refuses(
        contract.DatasetError,
        call=lambda: labels.read_labels(str(path), is_binary=is_binary),
        check=check,
    )


@pytest.mark.parametrize("count", ["9" * 5000, "9" * 18, "\u0663", "-3", "3.0", "\0"])
def test_a_count_of_labels_that_is_none(count, root):
    path = root / "count.txt"
    path.write_text(ATTRIBUTES.replace("3\n", f"{count}\n", 1), encoding="utf-8")
    if count == "\u0663":
        assert labels.read_labels(str(path), is_binary=True).values.shape == (3, 2)
    else:
        with pytest.raises(contract.DatasetError, match="must begin with|announces 9"):
            labels.read_labels(str(path), is_binary=True)


@given(data=st.binary(max_size=100) | st.sampled_from(ZIPS).flatmap(changed))
def test_any_zip(data, root):
    path = root / "images.zip"
    path.write_bytes(data)

    def read():
        index = archives.index_zip(str(path), official_bytes=1)
        locations = np.array(list(index.locations.values()), np.int64)
        index.reader.prefetch(list(index.locations), locations)
        return index

    def check(index):
        for key, location in index.locations.items():
            *_, num_bytes, _, checksum = location
            assert "/" not in key
            reads_or_refuses(
                squares.RejectedImageError,
                call=lambda key=key, at=location: index.reader.read(key, np.array(at)),
                check=lambda member, expected=(num_bytes, checksum): check_member(
                    member, *expected
                ),
            )

    reads_or_refuses(contract.DatasetError, call=read, check=check)


def check_member(member: bytes, num_bytes: int, checksum: int) -> None:
    assert len(member) == num_bytes
    assert zlib.crc32(member) == checksum


@given(
    data=st.binary(max_size=100)
    | changed(idx_bytes(PIXELS))
    | changed(gzip.compress(idx_bytes(PIXELS)))
)
def test_any_idx(data, root):
    path = root / "images-idx3-ubyte"
    path.write_bytes(data)

    def check(values):
        assert values.dtype == np.uint8
        unpacked = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        header, body = unpacked[: -values.size], unpacked[-values.size :]
        assert len(header) == 4 + 4 * values.ndim
        assert values.tobytes() == body

    for content in ("images", "labels"):
        reads_or_refuses(
            contract.DatasetError,
            call=lambda content=content: idx.read_idx(str(path), content),
            check=check,
        )


@given(data=st.binary(max_size=100).map(lambda tail: b"PK" + tail) | changed(NPZ))
def test_any_npz(data, root):
    path = root / "mnist.npz"
    path.write_bytes(data)
    reads_or_refuses(
        contract.DatasetError, call=lambda: npz.load(str(path)), check=check_splits
    )


def check_splits(loaded: dict[str, Any]) -> None:
    assert set(loaded) == {"train", "test"}
    for split in loaded.values():
        assert split.pixels.shape == (len(split.labels), 28, 28, 1)
        assert split.pixels.dtype == np.uint8


@given(
    array=changed(np.lib.format.magic(1, 0) + b"v\0")
    | changed(
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, "
        b"'shape': (2, 784), }\n" + bytes(64)
    )
)
def test_any_array_in_an_npz(array, root):
    path = root / "array.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{name}.npy", array)
    reads_or_refuses(
        contract.DatasetError, call=lambda: npz.load(str(path)), check=check_splits
    )


@given(
    info=changed_json(INFO).map(json.dumps) | JSON_TEXTS,
    features=changed_json(FEATURES).map(json.dumps)
    | JSON_TEXTS
    | st.just(json.dumps(FEATURES)),
)
def test_any_description_of_a_prepared_data_set(info, features, root):
    folder = root / "tfds"
    folder.mkdir(exist_ok=True)
    shard = folder / "d-train.tfrecord-00000-of-00001"
    record = example(PIXELS[0], 1)
    shard.write_bytes(b"".join(records.frame(record) * 2))
    (folder / "dataset_info.json").write_bytes(info.encode(errors="surrogatepass"))
    (folder / "features.json").write_bytes(features.encode(errors="surrogatepass"))

    def check(images):
        assert len(images) == 2
        for pixels in images.values():
            np.testing.assert_array_equal(np.squeeze(pixels), PIXELS[0])

    reads_or_refuses(
        contract.DatasetError,
        squares.RejectedImageError,
        call=lambda: read_all(tfds.list_images(str(folder))),
        check=check,
    )


@pytest.mark.parametrize(
    ("splits", "classes", "match"),
    [
        (
            [{"name": "train", "shardLengths": [10**15]}],
            3,
            "does not have the 10+ records",
        ),
        ([{"name": "train", "shardLengths": [-1, 3]}], 3, "has 1 shard of split"),
        ([{"name": "train", "shardLengths": [float("inf")]}], 3, "OverflowError"),
        ([{"name": None, "shardLengths": [2]}], 3, "has the splits None"),
        (INFO["splits"], 10**30, "label has 10+ classes"),
        (INFO["splits"], -5, "label has -5 classes"),
    ],
)
def test_numbers_that_no_data_set_has(tmp_path, splits, classes, match):
    features = json.loads(json.dumps(FEATURES))
    del features["featuresDict"]["features"]["attributes"]
    label = features["featuresDict"]["features"]["label"]
    label["classLabel"]["numClasses"] = classes
    (tmp_path / "features.json").write_text(json.dumps(features))
    (tmp_path / "dataset_info.json").write_text(json.dumps({**INFO, "splits": splits}))
    shard = tmp_path / "d-train.tfrecord-00000-of-00001"
    shard.write_bytes(b"".join(records.frame(example(PIXELS[0], 1)) * 2))
    with pytest.raises(contract.DatasetError, match=match):
        tfds.list_images(str(tmp_path))


@given(record=st.binary(max_size=60) | changed(example(PIXELS[0], 1)))
def test_any_record_of_a_prepared_data_set(record, root):
    path = root / "shard"
    path.write_bytes(b"".join(records.frame(record)))

    def check(examples):
        ((pixels, label),) = examples
        assert pixels.shape == (28, 28)
        assert pixels.dtype == np.uint8
        assert int(label) == label

    reads_or_refuses(
        contract.DatasetError,
        call=lambda: list(tfds_records.read_shard(str(path))),
        check=check,
    )
