import pathlib
import pickle
import struct
import zipfile

import numpy as np
import pytest

from pipeline import contract, sources
from pipeline.images import squares
from pipeline.planning.dataset_settings import Settings
from pipeline.sources.celeba import labels


def list_celeba(root) -> sources.Listing:
    return sources.list_images("celeba", str(root))


def read_all(listing):
    reader = pickle.loads(pickle.dumps(listing.reader))
    return {
        key: reader.read(key, location)
        for split in listing.by_split().values()
        for key, location in zip(split.keys, split.locations, strict=True)
    }


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_read(celeba, tmp_path, compression):
    listing = list_celeba(celeba.write(tmp_path, compression=compression))
    assert listing.name == "celeba"
    assert list(listing.by_split()) == ["train", "validation", "test"]
    assert read_all(listing) == celeba.images
    for split, images_of_split in listing.by_split().items():
        assert images_of_split.keys == sorted(
            key for key in celeba.images if celeba.split_of[key] == split
        )


def test_labels_follow_their_keys(celeba, tmp_path):
    listing = list_celeba(celeba.write(tmp_path))
    assert listing.features["attributes"].names == ("Bald", "Eyeglasses", "Male")
    assert listing.features["landmarks"].shape == (2,)
    for split in listing.by_split().values():
        for row, key in enumerate(split.keys):
            attributes = [int(value > 0) for value in celeba.attributes[key]]
            assert split.features["attributes"][row].tolist() == attributes
            assert split.features["landmarks"][row].tolist() == celeba.landmarks[key]


def test_a_folder_has_the_zips_fingerprint(celeba, tmp_path):
    stored = list_celeba(celeba.write(tmp_path / "zip"))
    packed = list_celeba(
        celeba.write(tmp_path / "packed", compression=zipfile.ZIP_DEFLATED)
    )
    folder = list_celeba(celeba.write(tmp_path / "folder", as_folder=True))
    assert read_all(folder) == read_all(stored)
    assert folder.fingerprint == stored.fingerprint == packed.fingerprint


def test_the_fingerprint_sees_sizes_and_labels(celeba, tmp_path):
    base = list_celeba(celeba.write(tmp_path / "a")).fingerprint
    celeba.images["000001.jpg"] += b"\0"
    assert list_celeba(celeba.write(tmp_path / "b")).fingerprint != base
    celeba.images["000001.jpg"] = celeba.images["000001.jpg"][:-1]
    celeba.attributes["000001.jpg"][0] *= -1
    assert list_celeba(celeba.write(tmp_path / "c")).fingerprint != base


def test_the_official_subdirectories_are_searched(celeba, tmp_path):
    celeba.write(tmp_path)
    for subdirectory, name in (
        ("Img", "img_align_celeba.zip"),
        ("Eval", "list_eval_partition.txt"),
        ("Anno", "list_attr_celeba.txt"),
        ("Anno", "list_landmarks_align_celeba.txt"),
    ):
        (tmp_path / subdirectory).mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / subdirectory / name)
    listing = list_celeba(tmp_path)
    assert set(listing.features) == {"attributes", "landmarks"}
    assert read_all(listing) == celeba.images


def test_labels_are_optional(celeba, tmp_path):
    celeba.attributes = celeba.landmarks = None
    assert list_celeba(celeba.write(tmp_path)).features == {}


def test_an_image_that_is_not_there_is_a_reject(celeba, tmp_path):
    for name, as_folder in (("zip", False), ("folder", True)):
        celeba.images.pop("000001.jpg", None)
        listing = list_celeba(celeba.write(tmp_path / name, as_folder=as_folder))
        split = listing.by_split()["train"]
        assert split.keys[0] == "000001.jpg"
        with pytest.raises(squares.RejectedImageError) as error:
            listing.reader.read("000001.jpg", split.locations[0])
        assert error.value.reason == "missing"


def test_an_image_without_a_split_is_not_used(celeba, tmp_path):
    del celeba.split_of["000001.jpg"]
    listing = list_celeba(celeba.write(tmp_path))
    assert sum(len(split.keys) for split in listing.by_split().values()) == 29


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_bytes_in_the_zip_are_a_reject(celeba, tmp_path, compression):
    root = pathlib.Path(celeba.write(tmp_path, compression=compression))
    split = list_celeba(root).by_split()["train"]
    offset, stored_bytes = split.locations[0][:2].tolist()
    path = root / "img_align_celeba.zip"
    data = bytearray(path.read_bytes())
    start = offset + 30 + sum(struct.unpack_from("<HH", data, offset + 26))
    for position in range(start + stored_bytes // 2, start + stored_bytes // 2 + 9):
        data[position] ^= 0xFF
    # A second member loses its header.
    offset = int(split.locations[1][0])
    data[offset : offset + 4] = bytes(4)
    path.write_bytes(data)
    listing = list_celeba(root)
    with pytest.raises(squares.RejectedImageError) as error:
        listing.reader.read(split.keys[0], split.locations[0])
    assert error.value.reason == "checksum"
    with pytest.raises(squares.RejectedImageError, match="no zip member"):
        listing.reader.read(split.keys[1], split.locations[1])
    # If the zip changed after its listing, the error names the zip and no member.
    path.write_bytes(b"\0" * 100)
    for key, location in zip(split.keys[:2], split.locations[:2], strict=True):
        with pytest.raises(contract.DatasetError, match=r"changed after .* \(100 B in"):
            listing.reader.read(key, location)


def test_labels_that_change_while_they_are_listed_are_detected(
    celeba, tmp_path, monkeypatch
):
    root = pathlib.Path(celeba.write(tmp_path))
    read_labels = labels.read_labels

    def read_and_change(path, **changes):
        actual = read_labels(path, **changes)
        pathlib.Path(path).write_text(pathlib.Path(path).read_text() + "\n")
        return actual

    monkeypatch.setattr(labels, "read_labels", read_and_change)
    fails(root, "list_attr_celeba.txt changed after it was listed .* same call aga")


def test_a_source_that_disappears_is_an_error(celeba, tmp_path):
    for as_folder in (False, True):
        listing = list_celeba(
            celeba.write(tmp_path / str(as_folder), as_folder=as_folder)
        )
        (tmp_path / str(as_folder)).rename(tmp_path / f"{as_folder}.gone")
        with pytest.raises(contract.DatasetError, match="cannot read"):
            listing.reader.read("000001.jpg", listing.by_split()["train"].locations[0])


def fails(root, match):
    with pytest.raises(contract.DatasetError, match=match) as error:
        list_celeba(root)
    assert "\n" not in str(error.value)


def test_no_input(tmp_path):
    fails(tmp_path / "absent", "absent does not exist: give the directory")
    (tmp_path / "file").write_text("")
    fails(tmp_path / "file", "is a file: give the directory")
    fails(tmp_path, "has no list_eval_partition.txt: put the official file")


@pytest.mark.parametrize(
    ("name", "held", "source"),
    [
        ("IMG_1.JPG", "raw images, such as IMG_1.JPG", "folder"),
        ("cat/1.png", "raw images, such as cat/1.png", "folder"),
        (
            "train-images-idx3-ubyte",
            "MNIST's raw files, such as train-images-idx3-ubyte",
            "mnist",
        ),
        (
            "1.0.0/dataset_info.json",
            "a data set of TensorFlow Datasets, such as 1.0.0/dataset_info.json",
            "tfds",
        ),
    ],
)
def test_input_of_another_source_names_the_source(tmp_path, name, held, source):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(contract.DatasetError) as error:
        list_celeba(tmp_path)
    assert str(error.value) == (
        f"input={tmp_path} holds {held}, but no list_eval_partition.txt of CelebA: "
        f"give `source={source}`, because the default is source=celeba"
    )


def test_a_pattern_and_a_list_need_another_source(tmp_path):
    (tmp_path / "list.txt").touch()
    for name in ("*.jpg", "list.txt"):
        fails(tmp_path / name, "or `source=folder` for a pattern or a list of images$")


def test_a_dataset_is_no_input(tmp_path):
    (tmp_path / "manifest.json").touch()
    fails(tmp_path, "^input=.* is a dataset, not a source of raw images: give the dir")


def test_no_images(celeba, tmp_path):
    root = pathlib.Path(celeba.write(tmp_path))
    (root / "img_align_celeba.zip").unlink()
    fails(root, "neither img_align_celeba.zip .1,443,490,838 B. nor a folder")
    (root / "img_align_celeba").mkdir()
    fails(root, "folder .* has no image")
    with zipfile.ZipFile(root / "img_align_celeba.zip", "w") as archive:
        archive.writestr("readme.txt", "")
    fails(root, "img_align_celeba.zip has no image")


def test_an_html_page_in_place_of_the_zip(celeba, tmp_path):
    root = pathlib.Path(celeba.write(tmp_path))
    page = "<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title>"
    (root / "img_align_celeba.zip").write_text(page)
    fails(root, "HTML page of 65 B, not a zip: .* by hand .* 1,443,490,838 B")


def test_a_truncated_zip(celeba, tmp_path):
    root = pathlib.Path(celeba.write(tmp_path))
    path = root / "img_align_celeba.zip"
    path.write_bytes(path.read_bytes()[:5000])
    fails(
        root, "truncated or damaged zip .*has 5,000 B, the official one 1,443,490,838"
    )
    path.write_bytes(b"Rar!" + path.read_bytes())
    fails(root, "is not a zip: it has 5,004 B and begins with 'Rar!")
    path.write_bytes(b"")
    fails(root, "is not a zip: it has 0 B")


@pytest.mark.parametrize(
    "name", ["/etc/x.jpg", "../x.jpg", "a/../../x.jpg", "..\\x.jpg", "C:\\x.jpg"]
)
def test_a_zip_with_unsafe_names(celeba, tmp_path, name):
    root = pathlib.Path(celeba.write(tmp_path))
    with zipfile.ZipFile(root / "img_align_celeba.zip", "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    fails(root, "leads out of the archive")


def test_a_zip_that_cannot_be_read(celeba, tmp_path):
    root = pathlib.Path(celeba.write(tmp_path / "bzip2", compression=zipfile.ZIP_BZIP2))
    fails(root, "compressed by method 12: only stored and deflated")
    root = pathlib.Path(celeba.write(tmp_path / "double"))
    with zipfile.ZipFile(root / "img_align_celeba.zip", "a") as archive:
        archive.writestr("elsewhere/000001.jpg", b"x")
    fails(root, "has two images named 000001.jpg")


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ("000001.jpg 0\n000002.jpg\n", "line 2 is '000002.jpg': expected a file name"),
        ("000001.jpg 3\n", "line 1 is .*: expected a file name and 0"),
        ("000001.jpg 0 1\n", "line 1"),
        ("<html>\n", "is an HTML page, not a text file: download it again"),
        ("../000001.jpg 0\n", "line 1"),
        ("000001.jpg 0\n000001.jpg 1\n", "line 2 repeats the file name 000001.jpg"),
        ("", "no image for split train, validation, test"),
        ("000001.jpg 0\n000002.jpg 1\n", "no image for split test"),
    ],
)
def test_a_malformed_partition(celeba, tmp_path, lines, match):
    root = pathlib.Path(celeba.write(tmp_path))
    (root / "list_eval_partition.txt").write_text(lines)
    fails(root, match)


def test_a_partition_that_is_no_text(celeba, tmp_path):
    root = pathlib.Path(celeba.write(tmp_path))
    (root / "list_eval_partition.txt").write_bytes(b"\xff\xd8\xff\xe0")
    fails(root, "cannot read .*list_eval_partition.txt")


def test_a_partition_of_other_images(celeba, tmp_path):
    celeba.split_of = {f"x{key}": split for key, split in celeba.split_of.items()}
    fails(celeba.write(tmp_path), "none of the 30 images .* different data sets")


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ("", "must begin with the number of images"),
        ("x\nBald Male\n", "must begin with the number of images"),
        ("1\n", "must begin with the number of images"),
        ("1\nBald Male\na.jpg 1\n", "line 3 has 1 value for 2 names"),
        (
            "1\nBald Male\na.jpg 1 1\nb.jpg 1 0\n",
            "line 4 has '0', which is not -1 or 1",
        ),
        ("1\nBald Male\na.jpg 1 x\n", "line 3 has 'x', which is not -1 or 1"),
        ("2\nBald Male\na.jpg 1 1\n", "announces 2 images, but has 1: it was cut off"),
        ("0\nBald Male\n", "has no image"),
        ("1\nBald Male\na.jpg 1 1\n", "^attributes .* for 30 images .* 000001.jpg"),
    ],
)
def test_malformed_attributes(celeba, tmp_path, lines, match):
    root = pathlib.Path(celeba.write(tmp_path))
    (root / "list_attr_celeba.txt").write_text(lines)
    fails(root, match)


@pytest.mark.parametrize("value", ["1.5", "99999", "65536", "1e3", "x"])
def test_malformed_landmarks(celeba, tmp_path, value):
    root = pathlib.Path(celeba.write(tmp_path))
    path = root / "list_landmarks_align_celeba.txt"
    lines = path.read_text().splitlines()
    lines[4] = f"000003.jpg 1 {value}"
    path.write_text("\n".join(lines))
    fails(root, f"line 5 has '{value}', which is not a whole number of pixels")


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        # Only the total number of values in the two lines is right.
        ("a.jpg 1\nb.jpg 1 1 1\n", 3),
        ("a.jpg 1 1 1\nb.jpg 1\n", 3),
        # NumPy alone would read two values here.
        ("a.jpg 1-1\nb.jpg 1 1\n", 3),
        ("a.jpg 1 1\nb.jpg\n", 4),
        ("a.jpg 1 1\nb.jpg 1 65536\n", 4),
    ],
)
def test_a_line_with_a_wrong_number_of_labels_is_named(tmp_path, rows, line):
    path = tmp_path / "list_attr_celeba.txt"
    path.write_text(f"2\nBald Male\n{rows}")
    for is_binary in (True, False):
        with pytest.raises(contract.DatasetError, match=f"line {line} has"):
            labels.read_labels(str(path), is_binary=is_binary)


def test_labels_may_be_apart_by_any_space(tmp_path):
    path = tmp_path / "list_attr_celeba.txt"
    path.write_text("3\nBald Male\n\na.jpg\t-1\t 1\n b.jpg  1 -1 \n\nc.jpg +1 1")
    table = labels.read_labels(str(path), is_binary=True)
    assert table.row_of == {"a.jpg": 0, "b.jpg": 1, "c.jpg": 2}
    assert table.values.tolist() == [[0, 1], [1, 0], [1, 1]]


def test_official_files_of_windows_and_with_a_mark_are_read(celeba, tmp_path):
    root = pathlib.Path(celeba.write(tmp_path))
    for name in ("list_eval_partition.txt", "list_attr_celeba.txt"):
        text = (root / name).read_text().replace("\n", "\r\n")
        (root / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_all(list_celeba(root)) == celeba.images


def test_labels_of_celebas_size_are_read_in_seconds(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.choice(["-1", " 1"], (20_000, 40))
    rows = "".join(f"{at:06d}.jpg {' '.join(row)}\n" for at, row in enumerate(values))
    path = tmp_path / "list_attr_celeba.txt"
    names = " ".join(f"name{index}" for index in range(40))
    path.write_text(f"20000\n{names}\n{rows}")
    table = labels.read_labels(str(path), is_binary=True)
    assert table.feature.shape == (40,)
    assert table.values.tolist() == (values == " 1").astype(int).tolist()
    assert table.rows(["000007.jpg", "absent"]).tolist() == [
        [int(v == " 1") for v in values[7]],
        [0] * 40,
    ]


def test_the_images_have_128_pixels_unless_it_is_said_otherwise():
    assert sources.find("celeba").image_size == Settings().image_size == 128


def test_an_unknown_source():
    with pytest.raises(contract.DatasetError, match="^source=x must be one of celeba"):
        sources.list_images("x", ".")
