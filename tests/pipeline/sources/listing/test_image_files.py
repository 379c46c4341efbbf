import dataclasses
import logging
import os
import pickle
import time

import pytest

from pipeline import contract
from pipeline.images import squares
from pipeline.sources.listing import image_files
from tests import rights

ALL = {
    "b.JPG",
    "a.png",
    "cats/tom.jpeg",
    "cats/my cat (1).webp",
    "cats/old/Kätzchen 猫.TIFF",
    "dogs/rex.gif",
    "dogs/Screenshot 3.04.05\u202fPM.bmp",
    "dogs/old/x.ppm",
}


@pytest.fixture
def photos(tmp_path, make_face):
    """Returns a directory with eight images, and other files among them."""
    root = tmp_path / "photos"
    for key in ALL:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_face(0))
    for name in ("Thumbs.db", "cats/notes.txt", "cats/README", ".hidden.jpg"):
        (root / name).write_bytes(b"x")
    (root / ".git").mkdir()
    (root / ".git" / "c.jpg").write_bytes(b"x")
    return root


@dataclasses.dataclass
class Files:
    """All images that a search found."""

    root: str
    locations: dict[str, tuple[int, int]]


def find(path) -> Files:
    files = image_files.find_images(str(path))
    pairs = list(files.images)
    # No key occurs twice.
    assert len(dict(pairs)) == len(pairs)
    return Files(files.root, dict(pairs))


def listed_keys(path) -> set[str]:
    return set(find(path).locations)


def fails(path, match):
    return pytest.raises(contract.DatasetError, match=match)


def test_a_directory_is_searched_in_depth(photos, caplog):
    with caplog.at_level(logging.INFO, logger="absl"):
        files = find(photos)
    assert set(files.locations) == ALL
    assert files.root == str(photos)
    assert "skipped 5 files other than images: 2 hidden, 1 " in caplog.text
    for kind in ("1 .db", "1 .txt", "1 without a suffix"):
        assert kind in caplog.text
    info = (photos / "a.png").stat()
    assert files.locations["a.png"] == (info.st_size, info.st_mtime_ns)


def test_every_suffix_is_known_in_any_case(tmp_path):
    for suffix in image_files.SUFFIXES:
        (tmp_path / f"a{suffix}").write_bytes(b"x")
        (tmp_path / f"b{suffix.upper()}").write_bytes(b"x")
    assert len(listed_keys(tmp_path)) == 2 * len(image_files.SUFFIXES)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("**/*", ALL),
        ("**", ALL),
        ("*.png", {"a.png"}),
        ("./*.png", {"a.png"}),
        ("*", {"a.png", "b.JPG"}),
        ("**/*.JPG", {"b.JPG"}),
        ("*/*.gif", {"dogs/rex.gif"}),
        ("**/old/*", {"cats/old/Kätzchen 猫.TIFF", "dogs/old/x.ppm"}),
        ("c*/**/*", {key for key in ALL if key.startswith("cats/")}),
        ("[cd]ogs/*.[a-g]if", {"dogs/rex.gif"}),
        ("dogs/**/x.ppm", {"old/x.ppm"}),
        ("dogs/**/**/x.ppm", {"old/x.ppm"}),
        ("dogs/o?d/x.ppm", {"old/x.ppm"}),
    ],
)
def test_a_pattern_chooses_and_its_root_ends_where_it_begins(photos, pattern, expected):
    if pattern == "dogs/o?d/x.ppm":
        assert find(f"{photos}/{pattern}").root == f"{photos}/dogs"
    assert listed_keys(f"{photos}/{pattern}") == expected


def test_relative_paths_are_of_the_working_directory(photos, monkeypatch):
    monkeypatch.chdir(photos)
    assert listed_keys(".") == listed_keys("**/*") == ALL
    assert listed_keys("cats/*.jpeg") == {"tom.jpeg"}
    files = find("cats")
    assert files.root == str(photos / "cats")


def test_a_pattern_looks_only_where_it_may_match(photos, monkeypatch):
    scanned = []
    scandir = os.scandir
    monkeypatch.setattr(
        os, "scandir", lambda path: scanned.append(path) or scandir(path)
    )
    listed_keys(f"{photos}/*.png")
    assert scanned == [f"{photos}/"]
    scanned.clear()
    listed_keys(f"{photos}/c*/*.jpeg")
    assert scanned == [f"{photos}/", f"{photos}/cats/"]


def test_a_directory_whose_name_looks_like_a_pattern(photos):
    photos.rename(photos.with_name("photos [2020]"))
    assert listed_keys(photos.with_name("photos [2020]")) == ALL


def test_links_are_followed_but_not_in_circles(photos, tmp_path, caplog):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "far.jpg").write_bytes(b"far")
    (photos / "linked").symlink_to(outside)
    (photos / "linked.jpg").symlink_to(outside / "far.jpg")
    (photos / "cats" / "up").symlink_to(photos)
    (photos / "self").symlink_to("self")
    (photos / "gone.jpg").symlink_to("nowhere.jpg")
    (photos / "self.jpg").symlink_to("self.jpg")
    with caplog.at_level(logging.INFO, logger="absl"):
        files = find(photos)
    assert "1 linked to a directory above" in caplog.text
    extra = {"linked/far.jpg", "linked.jpg", "gone.jpg", "self.jpg"}
    assert set(files.locations) == ALL | extra
    assert files.locations["linked.jpg"][0] == files.locations["linked/far.jpg"][0] == 3
    reader = image_files.ImageFileReader(files.root)
    for key in ("gone.jpg", "self.jpg"):
        with pytest.raises(squares.RejectedImageError, match="missing"):
            reader.read(key, files.locations[key])


def test_what_is_no_file_is_no_image(photos):
    (photos / "folder.jpg").mkdir()
    (photos / "folder.jpg" / "x.png").write_bytes(b"x")
    os.mkfifo(photos / "pipe.jpg")
    assert listed_keys(photos) == ALL | {"folder.jpg/x.png"}


def test_a_name_that_is_no_key_is_a_reject(photos):
    os.rename(photos / "a.png", os.fsencode(photos) + b"/caf\xe9.png")
    (photos / "two\nlines\x1b[31m.png").write_bytes(b"x")
    # A real file may have the escaped name of a rejected file.
    (photos / r"caf\xe9.png").write_bytes(b"real")
    os.rename(photos / "b.JPG", os.fsencode(photos) + b"/\xff.JPG")
    files = find(photos)
    bad = {r"two\x0alines\x1b[31m.png", r"\xff.JPG"}
    assert bad <= set(files.locations)
    assert files.locations[r"caf\xe9.png"][0] == 4
    reader = image_files.ImageFileReader(files.root)
    for key in bad:
        key.encode()
        with pytest.raises(squares.RejectedImageError, match="'name', 'not UTF-8, or"):
            reader.read(key, files.locations[key])


def write_list(path, *lines, encoding="utf-8", end="\n"):
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode(encoding))
    return path


def test_a_list_names_images_relative_to_itself(photos, caplog):
    path = write_list(
        photos / "some.TXT",
        "b.JPG",
        "",
        "./cats/../cats/my cat (1).webp",
        f"{photos}/cats/old/Kätzchen 猫.TIFF",
        "cats/notes.txt",
        "b.JPG",
        "absent.jpg",
        "cats",
        "b.JPG/below.jpg",
    )
    with caplog.at_level(logging.INFO, logger="absl"):
        files = find(path)
    assert "skipped 1 repeated line of " in caplog.text
    assert files.root == str(photos)
    sizes = {key: size for key, (size, _) in files.locations.items()}
    face = (photos / "b.JPG").stat().st_size
    assert sizes == {
        "b.JPG": face,
        "cats/my cat (1).webp": face,
        "cats/old/Kätzchen 猫.TIFF": face,
        # Every listed file counts as an image; decoding decides later.
        "cats/notes.txt": 1,
        "absent.jpg": -1,
        "cats": -1,
        "b.JPG/below.jpg": -1,
    }
    reader = image_files.ImageFileReader(files.root)
    with pytest.raises(squares.RejectedImageError, match="missing"):
        reader.read("absent.jpg", files.locations["absent.jpg"])
    with pytest.raises(squares.RejectedImageError, match="unreadable"):
        reader.read("cats/notes.txt", files.locations["cats/notes.txt"])


@pytest.mark.parametrize(
    ("encoding", "end"),
    [
        *(("utf-8-sig", "\n"), ("utf-8", "\r\n"), ("utf-8", "\n")),
        *(("utf-16", "\r\n"), ("utf-16", "\n")),
    ],
)
def test_a_list_of_any_editor(photos, monkeypatch, encoding, end):
    lines = ["cats/old/Kätzchen 猫.TIFF", "dogs/Screenshot 3.04.05\u202fPM.bmp"]
    write_list(photos / "list.txt", *lines, encoding=encoding, end=end)
    monkeypatch.chdir(photos / "cats")
    assert listed_keys("../list.txt") == set(lines)


def test_a_list_with_white_space_quotes_and_backslashes(photos):
    lines = ["b.JPG  ", '"cats/my cat (1).webp"', "'a.png' ", r"dogs\rex.gif", "b.JPG"]
    files = find(write_list(photos / "list.txt", *lines))
    keys = {"b.JPG", "cats/my cat (1).webp", "a.png", "dogs/rex.gif"}
    assert set(files.locations) == keys
    assert all(size > 0 for size, _ in files.locations.values())
    # A name that has these marks itself is read as it is.
    (photos / '"a.png"').write_bytes(b"quoted")
    files = find(write_list(photos / "list.txt", '"a.png"', "'absent.png'"))
    sizes = {key: size for key, (size, _) in files.locations.items()}
    assert sizes == {'"a.png"': 6, "'absent.png'": -1}


def test_a_list_of_files_elsewhere_is_rooted_where_they_all_are(photos, tmp_path):
    (tmp_path / "lists").mkdir()
    path = tmp_path / "lists" / "list.txt"
    lines = [f"{photos}/cats/tom.jpeg", "../photos/dogs/rex.gif"]
    files = find(write_list(path, *lines))
    assert files.root == str(photos)
    assert set(files.locations) == {"cats/tom.jpeg", "dogs/rex.gif"}
    files = find(write_list(path, *lines, "/etc/absent.png"))
    assert files.root == "/"
    key = f"{photos}/cats/tom.jpeg".lstrip("/")
    assert files.locations[key][0] == (photos / "cats/tom.jpeg").stat().st_size
    assert all(".." not in key and key[0] != "/" for key in files.locations)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "list.txt is empty: give a directory"),
        (b"\n \n", "list.txt is empty"),
        (b"caf\xe9.jpg\n", "cannot read .*list.txt: it is not UTF-8 text .byte 0xe9"),
        (
            b"a.jpg 0\nb.jpg 1\n",
            "list.txt lists only missing files .2., such as",
        ),
        (b"a.png\tcat\n", r"such as '/.*/photos/a.png\\tcat': give each image by"),
        (b"a\0b.png\n", "lists only missing files .1., such as"),
        ("a.png\n".encode("utf-16-le"), "has zero bytes: save it as UTF-8"),
        (b"\xff\xfea\0b", "cannot read .*list.txt: it is damaged UTF-16 text: save"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer: run"),
        (b"<!DOCTYPE html>\n<html></html>", "list.txt is an HTML page, not a text"),
        (b"PK\x03\x04\x14\0", "list.txt is a zip or a spreadsheet, not a text file"),
        (b"x" * 5000 + b"\n", "lists only missing files .1., such as"),
    ],
)
def test_lists_that_cannot_be_used(photos, content, match):
    (photos / "list.txt").write_bytes(content)
    with fails(photos, match):
        find(photos / "list.txt")


def test_inputs_that_cannot_be_used(photos, tmp_path):
    with fails(photos, "absent does not exist: give a directory of images, a pattern"):
        listed_keys(tmp_path / "absent")
    with fails(photos, r"a.png is a file: .* or a list of images, NAME.txt"):
        listed_keys(photos / "a.png")
    with fails(photos, "there is no directory .*/absent: give a directory"):
        listed_keys(tmp_path / "absent" / "*.png")
    with fails(photos, r"\*.tga has no image \(.jpg, .*, .avif\): give a directory"):
        listed_keys(photos / "*.tga")
    with fails(photos, r"\*.\[dt\]\* has no image \(.jpg, .*\), only 1 .db: give a"):
        listed_keys(photos / "*.[dt]*")


def test_input_of_another_source_names_the_source(tmp_path):
    (tmp_path / "mnist.npz").touch()
    with pytest.raises(
        contract.DatasetError,
        match=r"only 1 .npz: it holds MNIST's raw files, such as mnist.npz, so give "
        "`source=mnist`; or give a directory of images",
    ):
        listed_keys(tmp_path)


def test_a_directory_that_may_not_be_read_is_an_error(photos):
    (photos / "cats").chmod(0)
    try:
        with fails(photos, "cannot read .*/cats/: Permission denied: make it readable"):
            rights.call_as_user(listed_keys, photos)
        assert rights.call_as_user(listed_keys, f"{photos}/dogs") == {
            key.removeprefix("dogs/") for key in ALL if key.startswith("dogs/")
        }
    finally:
        (photos / "cats").chmod(0o755)


def test_an_error_of_the_disk_is_one_line(photos, monkeypatch):
    def fail(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", fail)
    with fails(photos, "^cannot read .*photos/: Permission denied: make it readable"):
        listed_keys(photos)


def test_the_reader_is_small_and_reads_any_image(photos, make_face):
    files = find(photos)
    reader = image_files.ImageFileReader(files.root)
    reader = pickle.loads(pickle.dumps(reader))
    for key, location in files.locations.items():
        assert reader.read(key, location).shape == (55, 45, 3)
    (photos / "a.png").unlink()
    with fails(photos, "cannot read .*a.png"):
        reader.read("a.png", files.locations["a.png"])


@pytest.mark.perf
def test_200000_files_are_listed_within_seconds(tmp_path):
    for number in range(200):
        (tmp_path / str(number)).mkdir()
        for at in range(1000):
            (tmp_path / str(number) / f"{at}.jpg").touch()
    start_seconds = time.monotonic()
    assert len(listed_keys(tmp_path)) == 200_000
    assert time.monotonic() - start_seconds < 10
