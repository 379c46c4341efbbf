"""CelebA in Parquet files: keys, labels, images and digest of the official files."""

import hashlib
import logging
import os
import pathlib
import pickle
import shutil
import zipfile

import numpy as np
import pyarrow as pa
import pytest

from pipeline import contract, sources
from pipeline.sources.celeba import celeba_parquet, parquet_reader
from pipeline.sources.celeba.attributes import ATTRIBUTE_NAMES, LANDMARK_NAMES
from tests.pipeline.commands import run_command
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


def content(listing: sources.Listing):
    """Returns a source's name, features, fingerprint, labels and images."""
    reader = pickle.loads(pickle.dumps(listing.reader))
    content = {}
    for split, table in listing.by_split().items():
        reader.prefetch(table.keys, table.locations)
        for place, key in enumerate(table.keys):
            labels = {name: v[place].tolist() for name, v in table.features.items()}
            content[split, key] = labels, reader.read(key, table.locations[place])
    return listing.name, listing.features, listing.fingerprint, content


def assert_same(root, faces: pathlib.Path) -> None:
    assert content(list_celeba(root)) == content(list_celeba(faces))


@pytest.mark.parametrize(
    "name",
    [
        "data/{split}-{number:05d}-of-{total:05d}.parquet",
        "img_align+identity+attr/{split}-{number:05d}-of-{total:05d}.parquet",
        "data/{split}-{number:05d}-of-{total:05d}-0123456789abcdef.parquet",
        "default/{split}/{number:04d}.parquet",
        "{split}/{split}-{number:05d}-of-{total:05d}.parquet",
        "{split}_{number}.PARQUET",
    ],
)
@pytest.mark.parametrize("num_files", [1, 12])
def test_files_of_any_name_are_the_official_ones(
    official, faces, tmp_path, name, num_files
):
    # The smaller splits may have fewer images than files.
    for split in ("validation", "val"):
        root = tmp_path / split
        splits = ("train", split, "test")
        official.write(root, name, num_files=num_files, splits=splits)
        assert_same(root, faces)


@pytest.mark.parametrize("name", ["{split}.parquet", "data/{split}.parquet"])
def test_a_split_may_be_one_file_without_a_number(official, faces, tmp_path, name):
    assert_same(official.write(tmp_path, name), faces)


def test_a_cache_of_hugging_face_is_the_official_one(official, faces, tmp_path):
    written = official.write(tmp_path / "made")
    root = tmp_path / "hub" / "datasets--flwrlabs--celeba"
    snapshot = root / "snapshots" / "2d738f56" / "data"
    snapshot.mkdir(parents=True)
    (root / "blobs").mkdir()
    for path in (written / "data").iterdir():
        blob = root / "blobs" / hashlib.sha256(path.name.encode()).hexdigest()
        path.rename(blob)
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("2d738f56")
    (snapshot.parent / "README.md").write_text("---\n")
    for given in (root, root.parent, snapshot.parent, snapshot):
        assert_same(given, faces)


def as_lists(columns):
    for whole, names, kind in (
        ("Attributes", ATTRIBUTE_NAMES, pa.list_(pa.int8())),
        ("landmarks", LANDMARK_NAMES, pa.list_(pa.int64(), len(LANDMARK_NAMES))),
    ):
        rows = zip(*(columns.pop(name).to_pylist() for name in names), strict=True)
        columns[whole] = pa.array([list(map(int, row)) for row in rows], kind)
    return columns


def as_bytes(columns):
    image = columns.pop("image")
    columns["image_id"] = pa.array(
        [f"img/{cell['path']}" for cell in image.to_pylist()]
    )
    columns["img"] = pa.array([cell["bytes"] for cell in image.to_pylist()])
    return columns


def as_large(columns):
    kind = pa.struct({"path": pa.large_string(), "bytes": pa.large_binary()})
    columns["image"] = pa.array(columns["image"].to_pylist(), kind)
    return columns


def other_order(columns):
    return {name.upper().replace("_", " "): columns[name] for name in reversed(columns)}


def other_rows(columns):
    return {name: column[::-1] for name, column in columns.items()}


CHANGES = {
    "0 or 1": as_integers(0, pa.int64()),
    "-1 or 1": as_integers(-1, pa.int8()),
    "floats": as_integers(-1, pa.float32()),
    "struct": as_struct,
    "lists": as_lists,
    "bytes": as_bytes,
    "large": as_large,
    "other order": other_order,
    "other rows": other_rows,
}


@pytest.mark.parametrize("change", CHANGES)
def test_columns_of_any_kind_are_the_official_ones(official, faces, tmp_path, change):
    assert_same(official.write(tmp_path, changed=CHANGES[change]), faces)


@pytest.mark.parametrize(
    "options",
    [
        {"row_group_size": 1},
        {"row_group_size": 7, "compression": "none"},
        {"use_dictionary": False, "compression": "zstd", "data_page_version": "2.0"},
        {"data_page_size": 1, "write_batch_size": 2, "write_page_index": True},
    ],
    ids=str,
)
def test_row_groups_of_any_size_are_the_official_ones(
    official, faces, tmp_path, options, monkeypatch
):
    # With this limit, the reader reads about two images at a time.
    monkeypatch.setattr(parquet_reader, "_MAX_BYTES", 5000)
    assert_same(official.write(tmp_path, **options), faces)


def test_in_a_bucket_they_are_the_official_ones(official, faces, tmp_path, upload):
    assert_same(upload(official.write(tmp_path, num_files=2, row_group_size=7)), faces)


def test_labels_that_are_no_columns_are_no_features(official, faces, tmp_path, caplog):
    def without_labels(columns):
        return {name: columns[name] for name in ("image", "celeb_id")}

    root = official.write(tmp_path / "data", changed=without_labels)
    bare = shutil.copytree(faces, tmp_path / "bare")
    shutil.rmtree(bare / "Anno")
    with caplog.at_level(logging.INFO, logger="absl"):
        assert_same(root, bare)
    assert "columns hold 0 of 40 attributes" in caplog.messages
    assert "unused columns: celeb_id" in caplog.messages


def test_png_images_have_the_official_keys(official, faces, tmp_path):
    def as_png(columns):
        cells = columns["image"].to_pylist()
        for cell in cells:
            cell["path"] = cell["path"].replace(".jpg", ".png")
        columns["image"] = pa.array(cells, IMAGE)
        return columns

    assert_same(official.write(tmp_path, changed=as_png), faces)


def test_the_files_split_decides_and_official_images_come_first(
    official, faces, tmp_path
):
    root = shutil.copytree(faces, tmp_path / "both")
    first, last = official.keys("train")[0], official.keys("test")[0]
    official.split_of[first], official.split_of[last] = "test", "train"
    official.write(root)
    assert_same(root, faces)
    (root / "img_align_celeba.zip").unlink()
    by_split = list_celeba(root).by_split()
    assert first in by_split["test"].keys
    assert last in by_split["train"].keys


def without_names(columns):
    cells = [{**cell, "path": None} for cell in columns["image"].to_pylist()]
    columns["image"] = pa.array(cells, IMAGE)
    return columns


def test_rows_without_names_have_them_by_their_order(
    official, faces, tmp_path, monkeypatch
):
    root = official.write(tmp_path / "a", changed=without_names)
    match = "has 30 of 30 images without a file name .* are those of all CelebA"
    with pytest.raises(contract.DatasetError, match=match):
        list_celeba(root)
    text = (faces / "Anno/list_attr_celeba.txt").read_bytes()
    md5 = hashlib.md5(text).hexdigest()
    monkeypatch.setattr(celeba_parquet, "OFFICIAL_ATTRIBUTES_MD5", md5)
    assert_same(root, faces)
    # Two rows swap their places.
    keys = list(official.images)
    at = next(
        place
        for place in range(1, 20)
        if official.attributes[keys[0]] != official.attributes[keys[place]]
    )
    order = [keys[at], *keys[1:at], keys[0], *keys[at + 1 :]]
    official.split_of = {key: official.split_of[key] for key in order}
    with pytest.raises(contract.DatasetError, match=match):
        list_celeba(official.write(tmp_path / "b", changed=without_names))


def test_a_large_row_group_is_not_held_in_memory(official, tmp_path):
    rng = np.random.default_rng(0)
    keys = [f"{number:06d}.jpg" for number in range(1, 6001)]
    official.images = {key: rng.bytes(8000) for key in keys}
    splits = ("train", "valid", "test")
    official.split_of = {key: splits[max(0, at - 5997)] for at, key in enumerate(keys)}
    one = next(iter(official.attributes.values()))
    official.attributes = dict.fromkeys(keys, one)
    official.landmarks = dict.fromkeys(keys, next(iter(official.landmarks.values())))
    root = official.write(tmp_path, row_group_size=10_000)
    before = pa.default_memory_pool()
    # Nothing else has used this memory pool, so its peak is the reader's.
    pool = pa.system_memory_pool()
    pa.set_memory_pool(pool)
    try:
        listing = list_celeba(root)
        table = listing.by_split()["train"]
        data = listing.reader.read(table.keys[-1], table.locations[-1])
    finally:
        pa.set_memory_pool(before)
    assert data == official.images[table.keys[-1]]
    # The row group has 48 MB, more than the reader may hold at once.
    assert 1 << 20 < pool.max_memory() < 40 << 20


def test_photographs_have_the_digest_of_the_official_files(real_celeba_dir, tmp_path):
    with zipfile.ZipFile(f"{real_celeba_dir}/img_align_celeba.zip") as archive:
        images = {
            f"{n:06d}.jpg": archive.read(archive.namelist()[n]) for n in range(1, 91)
        }
    splits = {
        key: ("train", "valid", "test")[at // 30] for at, key in enumerate(images)
    }
    photos = Faces(images, splits, {"": {}}, {"": {}})
    folder = tmp_path / "official" / "img_align_celeba"
    folder.mkdir(parents=True)
    for key, data in images.items():
        (folder / key).write_bytes(data)
    lines = [f"{key} {at // 30}\n" for at, key in enumerate(images)]
    (folder.parent / "list_eval_partition.txt").write_text("".join(lines))
    root = photos.write(tmp_path / "hf", num_files=3, row_group_size=4)
    digests = []
    for given in (folder.parent, root):
        output = tmp_path / "out" / given.name
        done = run_command(given, output, "--image_size=16", "--shard_size=16")
        assert done.returncode == 0, done.stderr
        digests.append(contract.load_manifest(output).digest)
        assert f"dataset digest: {digests[-1]}" in done.stdout
    assert digests[0] == digests[1]
