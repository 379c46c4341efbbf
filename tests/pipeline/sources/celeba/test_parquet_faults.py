"""Parquet files that are not CelebA, are damaged or are incomplete."""

import os
import pathlib

import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline import contract
from pipeline.images.squares import RejectedImageError
from tests.pipeline.sources.celeba.parquet_faces import (
    IMAGE,
    Faces,
    as_integers,
    as_struct,
    list_celeba,
    read_official,
)


@pytest.fixture
def official(faces: pathlib.Path) -> Faces:
    return read_official(faces)


def with_cell(name, row, value):
    def change(columns):
        cells = columns[name].to_pylist()
        cells[row] = value
        columns[name] = pa.array(cells)
        return columns

    return change


def fails(root, match: str) -> None:
    with pytest.raises(contract.DatasetError, match=match) as raised:
        list_celeba(root)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda columns: {"photo": columns["image"], "id": columns["celeb_id"]},
            r"has the columns photo \(struct.*, id \(int64\): expected attributes, an",
        ),
        (
            lambda columns: {**columns, "image": columns["Bald"]},
            r"columns image \(bool\), c",
        ),
        (with_cell("Bald", 1, None), "column Bald lacks 1 value: expected booleans"),
        (
            lambda columns: {**columns, "Male": pa.array(["a"] * len(columns["Male"]))},
            "the column Male is of type string: expected booleans",
        ),
        (
            lambda columns: {**columns, "Male": pa.array([0.5] * len(columns["Male"]))},
            "the column Male has values that are not integers",
        ),
        (
            with_cell("nose_x", 0, -(2**63)),
            "the column nose_x has values outside -9999",
        ),
        (
            lambda columns: (
                as_integers(0, pa.int8())(columns)
                | {"Male": pa.array([-1] * len(columns["Male"]))}
            ),
            r"has attributes with the values -1, 0, 1: expected booleans, -1 and 1",
        ),
        (
            lambda columns: {
                **as_struct(columns),
                "attributes": pa.array([[1, 0]] * len(columns["image"])),
            },
            r"has attributes of 2 values, but CelebA has 40",
        ),
    ],
    ids=range(8),
)
def test_other_columns_are_one_line(official, tmp_path, change, match):
    fails(official.write(tmp_path, changed=change), match)


def test_a_name_comes_once(official, tmp_path):
    root = official.write(tmp_path)
    table = parquet.read_table(root / "data/test-00000-of-00001.parquet")
    twice = pa.concat_tables([table, table])
    parquet.write_table(twice, root / "data/test-00000-of-00001.parquet")
    fails(root, "has two images named 0000.*: remove one of their files")


def test_files_of_other_columns_are_one_line(official, tmp_path):
    root = official.write(tmp_path)
    path = root / "data/valid-00000-of-00001.parquet"
    parquet.write_table(parquet.read_table(path).drop_columns(["Bald"]), path)
    fails(root, "valid-.* has other columns than .*train-.*: they belong to different")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "is a Git LFS pointer: run git lfs pull",
        ),
        (
            b"<!DOCTYPE html><title>401</title>",
            "is an HTML page, not a Parquet file: d",
        ),
        (b"x", "is not a Parquet file .it begins with 'x'.: download it again"),
        (b"", "is not a Parquet file .it is empty.: download it again"),
        (b"PAR1" + bytes(99), r"is cut off or damaged \(.+\): download it again"),
    ],
)
def test_what_is_no_parquet_has_a_remedy(official, tmp_path, data, match):
    root = official.write(tmp_path)
    path = root / "data/test-00000-of-00001.parquet"
    path.write_bytes(data)
    fails(root, f"^{path} {match}")


def test_damaged_pages_are_one_line(official, tmp_path):
    root = official.write(tmp_path, compression="gzip", row_group_size=5)
    path = root / "data/train-00000-of-00001.parquet"
    data = bytearray(path.read_bytes())
    data[200:260] = bytes(60)
    path.write_bytes(data)
    fails(root, f"^{path} is cut off or damaged")


@pytest.mark.parametrize(
    ("rename", "match"),
    [
        ("test-00000-of-00002", "has no Parquet file of split test, only data/train-0"),
        (
            "train-00001-of-00002",
            r"has 1 Parquet file like .*, but should have 2 \(.*: 1",
        ),
        ("valid-00000-of-00002", r"should have 2 \(missing or repeated number: 0\)"),
    ],
)
def test_a_missing_file_is_named(official, tmp_path, rename, match):
    root = official.write(tmp_path, num_files=2)
    for path in root.rglob(f"{rename.split('-')[0]}-*"):
        if rename in path.name or rename.startswith("test"):
            path.unlink()
    fails(root, match)


def test_names_without_a_split_and_several_directories_are_refused(official, tmp_path):
    root = official.write(tmp_path / "one", "data/part-{split}.parquet")
    fails(root, "names have no split .data/part-test.parquet, .*: rename them")
    root = official.write(tmp_path / "two", "a/{split}.parquet")
    official.write(root, "b/{split}.parquet")
    fails(root, r"has Parquet files in several directories \(a, b\): give one of them")


def test_a_row_without_an_image_is_a_reject(official, tmp_path):
    key = official.keys("train")[2]

    def change(columns):
        cells = columns["image"].to_pylist()
        empty = [
            {**each, "bytes": None} if each["path"] == key else each for each in cells
        ]
        return {**columns, "image": pa.array(empty, IMAGE)}

    listing = list_celeba(official.write(tmp_path, changed=change))
    images = listing.by_split()["train"]
    with pytest.raises(RejectedImageError, match="its row has no image") as raised:
        listing.reader.read(key, images.locations[images.keys.index(key)])
    assert raised.value.reason == "missing"


def test_a_file_that_changes_after_the_listing_is_named(official, tmp_path):
    root = official.write(tmp_path, compression="none", use_dictionary=False)
    listing = list_celeba(root)
    images = listing.by_split()["train"]
    path = root / "data/train-00000-of-00001.parquet"
    state, data = path.stat(), bytearray(path.read_bytes())
    image = official.images[images.keys[0]]
    at = data.index(image)
    data[at + 9] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(RejectedImageError, match="not the bytes that train-"):
        listing.reader.read(images.keys[0], images.locations[0])
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(contract.DatasetError, match="changed after it was listed"):
        listing.reader.read(images.keys[1], images.locations[1])
