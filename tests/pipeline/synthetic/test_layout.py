import csv
import hashlib
import io
import pathlib
import zipfile

import pytest
from PIL import Image

from pipeline.contract import DatasetError
from pipeline.sources.celeba.attributes import ATTRIBUTE_NAMES
from pipeline.synthetic import drawings, layout
from pipeline.synthetic.attributes import list_attributes
from pipeline.synthetic.drawings import draw_example
from pipeline.synthetic.face import draw, list_landmarks
from pipeline.synthetic.factors import FACTOR_NAMES, sample_factors
from pipeline.synthetic.layout import split_sizes, write_dataset

NUM_IMAGES = 130  # Two full chunks of 64, and two images more.
SEED = 21


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    root = tmp_path_factory.mktemp("synthetic")
    path = write_dataset(root, NUM_IMAGES, SEED, num_workers=1, show_progress=False)
    assert path == root / "img_align_celeba.zip"
    return root


def digests(root: pathlib.Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_files_are_celebas_and_no_others(root: pathlib.Path):
    assert set(digests(root)) == {
        "img_align_celeba.zip",
        "Eval/list_eval_partition.txt",
        "Anno/list_attr_celeba.txt",
        "Anno/list_landmarks_align_celeba.txt",
        "factors.csv",
    }


def test_bytes_do_not_depend_on_the_number_of_workers(
    root: pathlib.Path, tmp_path: pathlib.Path
):
    write_dataset(tmp_path, NUM_IMAGES, SEED, num_workers=2, show_progress=False)
    assert digests(tmp_path) == digests(root)


def test_zip_is_stored_and_dated_alike(root: pathlib.Path):
    with zipfile.ZipFile(root / layout.ZIP_NAME) as archive:
        members = archive.infolist()
        assert archive.testzip() is None
        assert [member.filename for member in members] == [
            f"img_align_celeba/{number:06d}.jpg" for number in range(1, NUM_IMAGES + 1)
        ]
        for member in members:
            assert member.compress_type == zipfile.ZIP_STORED
            assert member.date_time == (1980, 1, 1, 0, 0, 0)
            assert member.external_attr == 0o100644 << 16
        with Image.open(io.BytesIO(archive.read(members[-1]))) as image:
            assert image.convert("RGB").size == (178, 218)
        # An image does not depend on the number of images.
        assert archive.read("img_align_celeba/000100.jpg") == draw(SEED, 99)


def test_attributes_are_in_the_official_format(root: pathlib.Path):
    lines = (root / layout.ATTRIBUTES_NAME).read_text().splitlines()
    assert lines[0] == str(NUM_IMAGES)
    assert lines[1].split() == list(ATTRIBUTE_NAMES)
    assert len(lines) == NUM_IMAGES + 2
    name, *values = lines[2 + 41].split()
    assert name == "000042.jpg"
    assert tuple(map(int, values)) == list_attributes(sample_factors(SEED, 41))
    # Each value takes two columns, so its sign does not change the file's size.
    assert all(len(line) == len("000001.jpg") + 3 * 40 for line in lines[2:])


def test_landmarks_are_in_the_official_format(root: pathlib.Path):
    lines = (root / layout.LANDMARKS_NAME).read_text().splitlines()
    assert lines[0] == str(NUM_IMAGES)
    assert lines[1].split()[:3] == ["lefteye_x", "lefteye_y", "righteye_x"]
    name, *values = lines[-1].split()
    assert name == f"{NUM_IMAGES:06d}.jpg"
    expected = list_landmarks(sample_factors(SEED, NUM_IMAGES - 1))
    assert tuple(map(int, values)) == expected


def test_factors_are_exact(root: pathlib.Path):
    with (root / layout.FACTORS_NAME).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == NUM_IMAGES
    assert list(rows[0]) == ["image", *FACTOR_NAMES]
    factors = sample_factors(SEED, 7)
    assert rows[7]["image"] == "000008.jpg"
    for name in FACTOR_NAMES:
        value = getattr(factors, name)
        assert type(value)(rows[7][name]) == value


def test_partition_is_sequential(root: pathlib.Path):
    lines = (root / layout.PARTITION_NAME).read_text().splitlines()
    names, splits = zip(*(line.split() for line in lines), strict=True)
    assert names == tuple(f"{i + 1:06d}.jpg" for i in range(NUM_IMAGES))
    assert "".join(splits) == "0" * 104 + "1" * 12 + "2" * 14


@pytest.mark.parametrize(
    ("num_images", "expected"),
    [
        (3, (1, 1, 1)),
        (4, (2, 1, 1)),
        (10, (8, 1, 1)),
        (100, (80, 9, 11)),
        (202_599, (162_770, 19_867, 19_962)),
    ],
)
def test_split_sizes(num_images: int, expected: tuple[int, int, int]):
    assert split_sizes(num_images) == expected


def test_no_split_is_empty():
    for num_images in range(3, 300):
        sizes = split_sizes(num_images)
        assert min(sizes) >= 1
        assert sum(sizes) == num_images


@pytest.mark.parametrize("num_images", [-1, 0, 2])
def test_too_few_images(num_images: int, tmp_path: pathlib.Path):
    with pytest.raises(
        DatasetError, match=f"^num_images={num_images} must be at least 3"
    ):
        write_dataset(tmp_path / "new", num_images, 0)
    assert not (tmp_path / "new").exists()


def test_too_many_images():
    with pytest.raises(
        DatasetError, match="^num_images=1000000 must be at most 999999"
    ):
        split_sizes(1_000_000)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range(seed: int, tmp_path: pathlib.Path):
    with pytest.raises(DatasetError, match=r"^seed=.* must be from 0 to 2\*\*64-1"):
        write_dataset(tmp_path, 3, seed)


def test_no_workers(tmp_path: pathlib.Path):
    with pytest.raises(DatasetError, match="^num_workers=0 must be at least 1"):
        write_dataset(tmp_path, 3, 0, num_workers=0)


def test_an_existing_dataset_stays_unless_overwritten(tmp_path: pathlib.Path):
    write_dataset(tmp_path, 3, 0, num_workers=1, show_progress=False)
    before = digests(tmp_path)
    with pytest.raises(DatasetError, match="exists already: give `overwrite=True`"):
        write_dataset(tmp_path, 3, 1, num_workers=1)
    assert digests(tmp_path) == before
    write_dataset(tmp_path, 3, 1, num_workers=1, overwrite=True, show_progress=False)
    after = digests(tmp_path)
    assert set(after) == set(before)
    assert after["img_align_celeba.zip"] != before["img_align_celeba.zip"]


def test_failure_leaves_nothing_that_looks_whole(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    def fail_late(index: int, seed: int) -> drawings.Drawing:
        if index == 4:
            raise OSError("No space left on device")
        return draw_example(index, seed)

    monkeypatch.setattr(drawings, "draw_example", fail_late)
    with pytest.raises(DatasetError, match="cannot write the dataset .*No space left"):
        write_dataset(tmp_path, 6, 0, num_workers=1, show_progress=False)
    assert digests(tmp_path) == {}


def test_a_failure_leaves_what_was_to_be_overwritten(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    write_dataset(tmp_path, 3, 0, num_workers=1, show_progress=False)
    before = digests(tmp_path)

    def fail(index: int, seed: int) -> drawings.Drawing:
        raise OSError("No space left on device")

    monkeypatch.setattr(drawings, "draw_example", fail)
    with pytest.raises(DatasetError, match="cannot write the dataset .*No space left"):
        write_dataset(tmp_path, 6, 0, 1, overwrite=True, show_progress=False)
    assert digests(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", layout.FILE_NAMES)
def test_celebas_own_files_are_never_replaced(
    tmp_path: pathlib.Path, name: str, overwrite: bool
):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("image,years_of_work\n")
    with pytest.raises(DatasetError, match=f"has {name}, .* give another `output`"):
        write_dataset(tmp_path, 3, 0, 1, overwrite=overwrite, show_progress=False)
    assert list(digests(tmp_path)) == [name]


@pytest.mark.parametrize("num_put", range(1, 5))
def test_a_dataset_that_was_killed_as_it_got_its_names_is_made_again(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, num_put: int
):
    done = []

    def put_some(temporary: pathlib.Path, path: pathlib.Path) -> None:
        if len(done) == num_put:
            raise KeyboardInterrupt
        done.append(path)
        temporary.rename(path)

    with monkeypatch.context() as patch:
        patch.setattr(layout, "put", put_some)
        with pytest.raises(KeyboardInterrupt):
            write_dataset(tmp_path, 3, 0, num_workers=1, show_progress=False)
    assert not (tmp_path / layout.ZIP_NAME).exists()
    write_dataset(tmp_path, 3, 0, num_workers=1, show_progress=False)
    assert len(digests(tmp_path)) == 5


def test_a_planted_link_is_not_written_through(tmp_path: pathlib.Path):
    (tmp_path / "theirs").write_text("theirs")
    for name in ("factors.csv.partial", "img_align_celeba.zip.partial"):
        (tmp_path / name).symlink_to(tmp_path / "theirs")
    write_dataset(tmp_path, 3, 0, num_workers=1, show_progress=False)
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert not (tmp_path / layout.ZIP_NAME).is_symlink()


def test_output_is_a_file(tmp_path: pathlib.Path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(DatasetError, match="cannot write the dataset"):
        write_dataset(path, 3, 0, num_workers=1, show_progress=False)


def test_leftovers_of_a_kill_are_replaced(tmp_path: pathlib.Path):
    (tmp_path / "img_align_celeba.zip.partial").write_bytes(b"half a zip")
    write_dataset(tmp_path, 3, 0, num_workers=1, show_progress=False)
    assert not list(tmp_path.rglob("*.partial"))
    with zipfile.ZipFile(tmp_path / "img_align_celeba.zip") as archive:
        assert len(archive.infolist()) == 3
