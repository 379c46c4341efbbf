"""CelebA from other sites has the keys, labels and digest of the official files."""

import io
import logging
import pathlib
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from pipeline import contract, sources
from pipeline.images import squares

NAMES = (
    "list_eval_partition",
    "list_attr_celeba",
    "list_landmarks_align_celeba",
)


def list_celeba(root) -> sources.Listing:
    return sources.list_images("celeba", str(root))


def text_of(faces: pathlib.Path, name: str) -> str:
    return next(faces.rglob(f"{name}.txt")).read_text()


def rows_of(faces: pathlib.Path, name: str) -> list[list[str]]:
    """Returns the rows of an official list, with a header as in Kaggle's CSV."""
    lines = [line.split() for line in text_of(faces, name).splitlines()]
    if name == NAMES[0]:
        return [["image_id", "partition"], *lines]
    return [["image_id", *lines[1]], *lines[2:]]


def as_csv(rows: list[list[str]], delimiter: str = ",", end: str = "\n") -> str:
    return "".join(delimiter.join(row) + end for row in rows)


def members(faces: pathlib.Path) -> dict[str, bytes]:
    with zipfile.ZipFile(next(faces.rglob("img_align_celeba.zip"))) as archive:
        return {pathlib.Path(n).name: archive.read(n) for n in archive.namelist()}


def write_images(folder: pathlib.Path, images: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, data in images.items():
        (folder / name).write_bytes(data)


@pytest.fixture
def kaggle(faces, tmp_path):
    """Returns a directory like Kaggle's unpacked archive."""
    root = tmp_path / "archive"
    write_images(root / "img_align_celeba" / "img_align_celeba", members(faces))
    for name in NAMES:
        (root / f"{name}.csv").write_text(as_csv(rows_of(faces, name)))
    (root / "list_bbox_celeba.csv").write_text("image_id,x_1,y_1,width,height\n")
    return root


def assert_same(actual: sources.Listing, expected: sources.Listing) -> None:
    assert actual.fingerprint == expected.fingerprint
    assert_same_but_for_sizes(actual, expected)


def assert_same_but_for_sizes(
    actual: sources.Listing, expected: sources.Listing
) -> None:
    assert actual.features == expected.features
    for split, table in expected.by_split().items():
        actual_table = actual.by_split()[split]
        assert actual_table.keys == table.keys
        for name, values in table.features.items():
            np.testing.assert_array_equal(actual_table.features[name], values)


def read_all(listing: sources.Listing) -> dict[str, bytes | np.ndarray]:
    return {
        key: listing.reader.read(key, location)
        for table in listing.by_split().values()
        for key, location in zip(table.keys, table.locations, strict=True)
    }


def test_kaggles_is_the_official_one(faces, kaggle):
    expected = list_celeba(faces)
    actual = list_celeba(kaggle)
    assert_same(actual, expected)
    assert read_all(actual) == read_all(expected)


def test_kaggles_in_a_bucket_is_the_official_one(faces, kaggle, upload):
    (kaggle / "img_align_celeba" / "img_align_celeba" / "000001.jpg").rename(
        kaggle / "img_align_celeba" / "img_align_celeba" / "000001.JPG"
    )
    actual, expected = list_celeba(upload(kaggle)), list_celeba(faces)
    assert_same(actual, expected)
    table = actual.by_split()["train"]
    actual.reader.prefetch(table.keys, table.locations)
    assert read_all(actual) == read_all(expected)


@pytest.mark.parametrize("folder", ["celeba", "data", "CelebA"])
def test_torchvisions_is_the_official_one(faces, tmp_path, folder, caplog):
    root = tmp_path / "root" / folder
    write_images(root / "img_align_celeba", members(faces))
    for name in NAMES:
        (root / f"{name}.txt").write_text(text_of(faces, name))
    (root / "identity_CelebA.txt").write_text("000001.jpg 2880\n")
    expected = list_celeba(faces)
    with caplog.at_level(logging.INFO, logger="absl"):
        assert_same(list_celeba(root.parent), expected)
    assert f"CelebA is in {root}" in caplog.messages
    assert_same(list_celeba(root), expected)
    # torchvision also leaves the zip there, which is read instead of the folder.
    shutil.copy(next(faces.rglob("*.zip")), root)
    assert_same(list_celeba(root.parent), expected)
    shutil.copytree(root, root.with_name("copy"))
    with pytest.raises(contract.DatasetError, match=r"in several directories .*: give"):
        list_celeba(root.parent)


@pytest.mark.parametrize("are_csv", [(False, True, True), (True, False, False)])
def test_text_and_csv_may_be_mixed(faces, kaggle, are_csv):
    for name, is_csv in zip(NAMES, are_csv, strict=True):
        if not is_csv:
            (kaggle / f"{name}.csv").unlink()
            (kaggle / f"{name}.txt").write_text(text_of(faces, name))
    assert_same(list_celeba(kaggle), list_celeba(faces))


def test_names_may_be_in_any_case(faces, kaggle):
    for name in NAMES:
        (kaggle / f"{name}.csv").rename(kaggle / f"{name.upper()}.CSV")
    (kaggle / "img_align_celeba" / "img_align_celeba").rename(kaggle / "images")
    (kaggle / "img_align_celeba").rmdir()
    (kaggle / "images").rename(kaggle / "IMG_Align_CelebA")
    for path in list((kaggle / "IMG_Align_CelebA").iterdir()):
        path.rename(path.with_suffix(".JPG"))
    expected, actual = list_celeba(faces), list_celeba(kaggle)
    assert_same(actual, expected)
    assert read_all(actual) == read_all(expected)


@pytest.mark.parametrize("in_zip", [False, True])
def test_png_images_have_the_official_keys(faces, kaggle, in_zip, caplog):
    official = members(faces)
    images = {}
    for name, data in official.items():
        file = io.BytesIO()
        Image.open(io.BytesIO(data)).save(file, "PNG")
        images[name.replace(".jpg", ".png")] = file.getvalue()
    # Image 1 has the suffix that the partition lists, and image 2 is missing.
    images["000001.jpg"] = official["000001.jpg"]
    del images["000001.png"], images["000002.png"]
    shutil.rmtree(kaggle / "img_align_celeba")
    if in_zip:
        with zipfile.ZipFile(kaggle / "img_align_celeba_png.zip", "w") as archive:
            for name, data in images.items():
                archive.writestr(f"img_align_celeba_png/{name}", data)
    else:
        write_images(kaggle / "img_align_celeba_png", images)
    with caplog.at_level(logging.INFO, logger="absl"):
        actual = list_celeba(kaggle)
    line = (
        "found 28 images with another suffix than in the lists, such as 000003.png for "
        "000003.jpg"
    )
    assert line in caplog.messages
    assert_same_but_for_sizes(actual, list_celeba(faces))
    table = actual.by_split()["train"]
    locations = dict(zip(table.keys, table.locations, strict=True))
    for name in ("000001.jpg", "000003.png"):
        key = name.replace("png", "jpg")
        assert actual.reader.read(key, locations[key]) == images[name]
    with pytest.raises(squares.RejectedImageError, match="missing"):
        actual.reader.read("000002.jpg", locations["000002.jpg"])


def test_labels_may_name_images_of_another_suffix(faces, kaggle):
    path = kaggle / "list_attr_celeba.csv"
    path.write_text(path.read_text().replace(".jpg", ".png"))
    assert_same_but_for_sizes(list_celeba(kaggle), list_celeba(faces))


def test_where_labels_are_from_is_said(kaggle, caplog):
    with caplog.at_level(logging.INFO, logger="absl"):
        list_celeba(kaggle)
    assert f"reading attributes from {kaggle}/list_attr_celeba.csv" in caplog.messages


def test_labels_that_are_not_there_are_named(faces, kaggle, caplog):
    (kaggle / "list_attr_celeba.csv").unlink()
    (kaggle / "list_landmarks_align_celeba.csv").unlink()
    with caplog.at_level(logging.INFO, logger="absl"):
        assert list_celeba(kaggle).features == {}
    assert "no attributes: the input has neither list_attr_celeba.txt nor its .csv" in (
        caplog.messages
    )
    assert "no landmarks: " in caplog.text


@pytest.mark.parametrize(
    ("name", "match"),
    [
        (
            "data/train-00000-of-00019.parquet",
            "no Parquet file of split validation or t",
        ),
        ("x.arrow", "download the Parquet files, because Arrow files are not supp"),
        ("train/metadata.csv", "give source=folder for folders of images without"),
        ("readme.md", "has no list_eval_partition.txt: put the official file"),
    ],
)
def test_what_cannot_be_read_has_a_remedy(tmp_path, name, match):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(contract.DatasetError, match=match):
        list_celeba(tmp_path)


def test_a_7z_archive_has_to_be_unpacked(kaggle):
    shutil.rmtree(kaggle / "img_align_celeba")
    (kaggle / "Img").mkdir()
    (kaggle / "Img" / "img_align_celeba_png.7z.001").write_bytes(b"7z")
    with pytest.raises(contract.DatasetError, match="unpack the 7z archive .* there; "):
        list_celeba(kaggle)


def changed(rows, name):
    """Returns a table in a form that another program might write."""
    header, *body = rows
    if name == "reversed":
        return as_csv([[row[0], *row[:0:-1]] for row in rows])
    if name == "key last":
        return as_csv([[*row[1:], row[0]] for row in rows])
    if name == "numbered":
        numbered = [[str(at), *row] for at, row in enumerate(body)]
        return as_csv([["", *header], *numbered])
    if name == "quoted":
        return as_csv([[f'"{cell}"' for cell in row] for row in rows])
    if name == "other case":
        return as_csv([[cell.upper().replace("_", " ") for cell in header], *body])
    if name == "spaces":
        return as_csv([[f" {cell} " for cell in row] for row in rows])
    if name == "windows":
        return "\ufeff" + as_csv(rows, end="\r\n") + "\r\n"
    if name == "semicolons":
        return as_csv(rows, delimiter=";")
    values = {
        "zeros": ("0", "1"),
        "words": ("False", "True"),
        "floats": ("-1.0", "1.0"),
    }
    low, high = values[name]
    table = {"-1": low, "1": high}
    return as_csv([header, *([row[0], *(table[v] for v in row[1:])] for row in body)])


@pytest.mark.parametrize(
    ("old", "new"), [(".jpg", ".png"), (".jpg", ".JPG"), ("0", "img_align_celeba/0")]
)
def test_names_in_tables_become_the_official_ones(faces, kaggle, old, new):
    for path in kaggle.glob("list_[eal]*.csv"):
        lines = path.read_text().splitlines()
        lines[1:] = [line.replace(old, new, 1) for line in lines[1:]]
        path.write_text("\n".join(lines))
    assert_same(list_celeba(kaggle), list_celeba(faces))


CHANGES = ("numbered", "quoted", "other case", "spaces", "windows", "semicolons")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", NAMES)
def test_tables_of_other_programs(faces, kaggle, change, name):
    (kaggle / f"{name}.csv").write_text(changed(rows_of(faces, name), change))
    assert_same(list_celeba(kaggle), list_celeba(faces))


@pytest.mark.parametrize("change", ["UTF-16", "spaces", "quotes"])
@pytest.mark.parametrize("name", NAMES)
def test_text_lists_of_other_programs(faces, tmp_path, change, name):
    root = tmp_path / "faces"
    shutil.copytree(faces, root)
    [path] = root.rglob(f"{name}.txt")
    lines = path.read_text().splitlines()
    if change == "UTF-16":
        path.write_text(path.read_text(), encoding="utf-16")
    elif change == "spaces":
        path.write_text("\n".join(f"{line} \t " for line in lines) + "\n \n")
    else:
        quoted = [" ".join(f'"{word}"' for word in line.split()) for line in lines]
        path.write_text("\n".join(quoted))
    changed = list_celeba(root)
    if change == "UTF-16":
        assert_same(changed, list_celeba(faces))
    else:
        # Other bytes have another fingerprint.
        assert_same_but_for_sizes(changed, list_celeba(faces))


@pytest.mark.parametrize("change", ["reversed", "key last", "zeros", "words", "floats"])
def test_attributes_of_other_programs(faces, kaggle, change):
    text = changed(rows_of(faces, NAMES[1]), change)
    (kaggle / f"{NAMES[1]}.csv").write_text(text)
    assert_same(list_celeba(kaggle), list_celeba(faces))


def test_a_partition_without_a_header_or_with_names(faces, kaggle):
    rows = rows_of(faces, NAMES[0])[1:]
    path = kaggle / f"{NAMES[0]}.csv"
    path.write_text(as_csv(rows))
    assert_same(list_celeba(kaggle), list_celeba(faces))
    splits = ("train", "val", "Test")
    path.write_text(as_csv([[key, splits[int(number)]] for key, number in rows]))
    assert_same(list_celeba(kaggle), list_celeba(faces))
