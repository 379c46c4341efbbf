"""Every source lists and reads the same from a bucket as from a local copy."""

import logging
import pickle
import subprocess
import zipfile
from collections.abc import Callable

import numpy as np
import pytest

from pipeline import contract, sources
from pipeline.images import squares
from pipeline.planning.dataset_settings import Settings
from pipeline.sources.listing import image_files
from pipeline.storage import buckets, paths
from tests import preloaded
from tests.pipeline import calls
from tests.pipeline.sources.mnist.amat_files import write_files

MAKERS: dict[str, Callable] = {
    "celeba zip": lambda of, path: of("celeba").write(path),
    "celeba deflated": lambda of, path: of("celeba").write(
        path, compression=zipfile.ZIP_DEFLATED
    ),
    "celeba folder": lambda of, path: of("celeba").write(path, as_folder=True),
    "folder": lambda of, path: write_photos(of, path),
    "mnist idx": lambda of, path: of("digits").write(path),
    "mnist gz": lambda of, path: of("digits").write(path, "gz"),
    "mnist npz": lambda of, path: of("digits").write(path, "npz"),
    "mnist tfds": lambda of, path: of("digits").write(path, "tfds"),
    "tfds": lambda of, path: of("prepared") / "pets",
    "binarized_mnist": lambda of, path: write_files(path),
}
FILES = ("b.JPG", "a.png", "cats/tom.jpeg", "cats/old/Kätzchen 猫.TIFF", "dogs/x.gif")


def write_photos(of, path):
    """Writes 40 images of two classes; three of the images occur twice."""
    make_face = of("make_face")
    for at in range(40):
        file = path / ("cat", "dog & co")[at % 2] / f"{at:02d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(make_face(at % 37))
    return path


@pytest.fixture
def make(request, tmp_path) -> Callable[[str], str]:
    """Returns a function that makes the local files for a form of a source."""
    return lambda form: str(MAKERS[form](request.getfixturevalue, tmp_path / "raw"))


@pytest.fixture
def photos(tmp_path, make_face):
    root = tmp_path / "photos"
    for name in (*FILES, ".hidden.jpg", ".git/c.jpg", "Thumbs.db", "cats/README"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(make_face(len(name)))
    return root


def content(form: str, root: str, **settings):
    """Returns a source's listing, labels and images, without modification times."""
    listing = sources.list_images(form.split()[0], root, settings)
    reader = pickle.loads(pickle.dumps(listing.reader))
    contents = {}
    for split, images in listing.by_split().items():
        reader.prefetch(images.keys, images.locations)
        for place, key in enumerate(images.keys):
            image = reader.read(key, images.locations[place])
            labels = {name: v[place].tolist() for name, v in images.features.items()}
            contents[split, key] = labels, np.asarray(image).tobytes()
    return (
        listing.name,
        listing.features,
        listing.fingerprint,
        listing.num_channels,
        listing.split_fractions,
        contents,
    )


def fails(form: str, root: str, match: str) -> None:
    with pytest.raises(contract.DatasetError, match=match) as error:
        content(form, root)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("form", MAKERS)
def test_it_is_as_a_local_copy(form, make, upload):
    root = make(form)
    url = upload(root)
    expected = content(form, root)
    assert len(expected[-1]) > 25
    assert content(form, url) == expected
    assert content(form, f"{url}/") == expected


@pytest.mark.slow
@pytest.mark.parametrize("form", ["celeba zip", "folder", "mnist idx", "tfds"])
def test_the_digest_is_that_of_a_local_copy(form, make, upload, tmp_path):
    root = make(form)
    digests = {
        calls.prepare(
            Settings(source=form.split()[0], image_size=8, shard_size=8),
            input_dir=path,
            output=str(tmp_path / f"{number}.out"),
            beam_args=buckets._beam_flags,
        ).digest
        for number, path in enumerate((root, upload(root)))
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    "form", ["celeba zip", "celeba folder", "tfds", "binarized_mnist"]
)
def test_every_image_is_one_request(form, make, upload, monkeypatch):
    listing = sources.list_images(form.split()[0], upload(make(form)))
    requests = []
    for name in ("read_bytes", "read_range"):
        read = getattr(paths, name)
        monkeypatch.setattr(
            paths, name, lambda *a, read=read: requests.append(a) or read(*a)
        )
    images = listing.by_split()["train"]
    listing.reader.prefetch(images.keys, images.locations)
    for key, location in zip(images.keys, images.locations, strict=True):
        listing.reader.read(key, location)
    assert len(requests) == len(set(requests)) == len(images)


@pytest.mark.parametrize("form", MAKERS)
def test_a_worker_needs_the_reader_and_the_flags(form, make, upload):
    listing = sources.list_images(form.split()[0], upload(make(form)))
    images = listing.by_split()["train"]
    program = (
        "import pickle, sys\n"
        "from pipeline.storage import buckets\n"
        "flags, reader, key, location = pickle.load(sys.stdin.buffer)\n"
        "buckets.configure(flags)\n"
        "sys.stdout.buffer.write(pickle.dumps(reader.read(key, location)))"
    )
    first = (images.keys[0], images.locations[0])
    done = subprocess.run(
        [preloaded.shared_python(), "-c", program],
        input=pickle.dumps((buckets._beam_flags, listing.reader, *first)),
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(
        pickle.loads(done.stdout), listing.reader.read(*first)
    )


@pytest.mark.parametrize("source", sources.SOURCES)
def test_what_is_not_there_is_an_error(source, url_root):
    fails(source, f"{url_root}/absent", f"input={url_root}/absent does not exist: gi")
    absent = f"{url_root.partition('://')[0]}://absent-bucket"
    fails(source, f"{absent}/a", f"there is no bucket {absent}: create it, or corr")
    paths.write_bytes(f"{url_root}/other/notes.md", b"x")
    has = "only 1 .md: give" if source == "folder" else "has (no|notes.md)"
    fails(source, f"{url_root}/other", f"input={url_root}/other has .*{has}|{has}")


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("celeba zip", "img_align_celeba.zip"),
        ("celeba folder", "img_align_celeba/000001.jpg"),
        ("folder", "cat/00.jpg"),
        ("tfds", "1.0.0/pets-train.tfrecord-00000-of-00002"),
        ("binarized_mnist", "binarized_mnist_train.amat"),
    ],
)
def test_a_file_that_disappears_is_an_error(form, name, make, upload):
    url = upload(make(form))
    listing = sources.list_images(form.split()[0], url)
    numbered = dict.fromkeys(("tfds", "binarized_mnist"), "train-00000")
    key = {"folder": name, **numbered}.get(form, "000001.jpg")
    [(images, place)] = [
        (images, list(images.keys).index(key))
        for images in listing.by_split().values()
        if key in images.keys
    ]
    paths.remove(f"{url}/{name}")
    for announced in ([], images.keys):
        listing.reader.prefetch(announced, images.locations[: len(announced)])
        with pytest.raises(contract.DatasetError, match=f"cannot read .*{name}") as e:
            listing.reader.read(key, images.locations[place])
        assert "\n" not in str(e.value)


def test_an_image_that_is_not_there_is_a_reject(celeba, tmp_path, upload):
    del celeba.images["000001.jpg"]
    for name, as_folder in (("zip", False), ("folder", True)):
        url = upload(celeba.write(tmp_path / name, as_folder=as_folder))
        listing = sources.list_images("celeba", url)
        images = listing.by_split()["train"]
        listing.reader.prefetch(images.keys, images.locations)
        with pytest.raises(squares.RejectedImageError, match="missing"):
            listing.reader.read("000001.jpg", images.locations[0])
        assert listing.reader.read(images.keys[1], images.locations[1])


def test_a_zip_that_is_cut_off(celeba, tmp_path, upload):
    root = celeba.write(tmp_path)
    path = tmp_path / "img_align_celeba.zip"
    path.write_bytes(path.read_bytes()[:-30])
    num_bytes = path.stat().st_size
    fails("celeba", upload(root), f"truncated or damaged zip .* has {num_bytes:,} B")


def test_copies_are_found(make, upload, caplog):
    root = make("folder")
    expected = content("folder", root, deduplicate=True)
    assert len(expected[-1]) == 37
    with caplog.at_level(logging.INFO, logger="absl"):
        assert content("folder", upload(root), deduplicate=True) == expected
    assert "dropped 3 of 40 images as copies" in caplog.text


def test_folders_of_splits(make, upload, tmp_path):
    make("folder")
    (tmp_path / "raw" / "cat").rename(tmp_path / "raw" / "train")
    (tmp_path / "raw" / "dog & co").rename(tmp_path / "raw" / "val")
    url = upload(tmp_path / "raw")
    assert content("folder", url) == content("folder", str(tmp_path / "raw"))
    splits = sources.list_images("folder", url).by_split()
    assert {name: len(images) for name, images in splits.items()} == {
        "train": 20,
        "validation": 20,
    }


def sizes(path) -> tuple[str, dict[str, int]]:
    files = image_files.find_images(str(path))
    return files.root, {key: size for key, (size, _) in files.images}


@pytest.mark.parametrize(
    ("pattern", "num_found"),
    [
        ("", 5),
        ("**/*", 5),
        ("**", 5),
        ("*.png", 1),
        ("*", 2),
        ("*/*", 2),
        ("**/old/*", 1),
        ("c*/**/*", 2),
        ("[cd]*s/*.[a-g]if", 1),
        ("cats/**", 2),
        ("cats/o?d/*", 1),
        ("cats/**/**/tom.*", 1),
    ],
)
def test_a_pattern_finds_what_it_finds_locally(photos, upload, pattern, num_found):
    url = upload(photos)
    root, local_sizes = sizes(f"{photos}/{pattern}")
    assert len(local_sizes) == num_found
    at_url, sizes_at_url = sizes(f"{url}/{pattern}")
    assert sizes_at_url == local_sizes
    assert at_url.removeprefix(url) == root.removeprefix(str(photos))


def test_what_is_skipped_is_counted(photos, upload, caplog):
    url = upload(photos)
    paths.write_bytes(f"{url}/cats//a.png", b"x")
    with caplog.at_level(logging.INFO, logger="absl"):
        assert len(sizes(url)[1]) == len(FILES)
    assert "skipped 5 files other than images: " in caplog.text
    for kind in ("2 hidden", "1 .db", "1 without a suffix", "1 with a double slash"):
        assert kind in caplog.text


def test_a_directory_is_listed_lazily(photos, upload, monkeypatch):
    url = upload(photos)
    asked = []

    def walk(path):
        for number in range(1 << 62):
            asked.append(number)
            yield paths.Entry(f"{number}.jpg", 1)

    monkeypatch.setattr(paths, "walk", walk)
    images = image_files.find_images(url).images
    assert [next(images)[0] for _ in range(3)] == ["0.jpg", "1.jpg", "2.jpg"]
    assert len(asked) == 3


def test_patterns_of_nothing(photos, upload):
    url = upload(photos)
    for path, match in (
        (f"{url}/absent/*.png", f"there is no directory {url}/absent: give"),
        (f"{url}/*.tga", r"\*.tga has no image \(.jpg, .*, .avif\): give a directory"),
        (f"{url}/a.png", "a.png is a file: give a directory of images, a pattern"),
    ):
        with pytest.raises(contract.DatasetError, match=match):
            sizes(path)


def test_a_list_names_what_is_in_its_directory(photos, upload):
    lines = ["b.JPG", "./cats/../cats/tom.jpeg", "", "b.JPG", "absent.jpg", "cats"]
    (photos / "list.txt").write_text("\n".join(lines))
    url = upload(photos)
    _, expected = sizes(photos / "list.txt")
    assert expected["absent.jpg"] == expected["cats"] == -1
    assert sizes(f"{url}/list.txt") == (url, expected)
    paths.write_bytes(f"{url}/urls.txt", f"{url}/b.JPG\n{url}/cats/tom.jpeg".encode())
    assert set(sizes(f"{url}/urls.txt")[1]) == {"b.JPG", "cats/tom.jpeg"}


@pytest.mark.parametrize(
    "line", ["../b.JPG", "/etc/a.png", "s3://other/a.png", "a/../.."]
)
def test_a_list_of_what_is_elsewhere(url_root, line):
    paths.write_bytes(f"{url_root}/list.txt", f"a.png\n{line}\n".encode())
    fails("folder", f"{url_root}/list.txt", f"lists '{line}': files in a bucket need a")


def test_lists_that_name_nothing(url_root, tmp_path):
    paths.write_bytes(f"{url_root}/empty.txt", b"\n")
    fails("folder", f"{url_root}/empty.txt", "empty.txt is empty: give a directory")
    paths.write_bytes(f"{url_root}/list.txt", b"a.png 0\nb.png 1\n")
    fails("folder", f"{url_root}/list.txt", "list.txt lists only missing files .2.")
    (tmp_path / "list.txt").write_text("s3://bucket/a.png\n")
    fails("folder", str(tmp_path / "list.txt"), "lists 's3://bucket/a.png': files in a")


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "mnist.npz"])
def test_a_file_of_mnist_is_an_input(digits, tmp_path, upload, name):
    form = "npz" if name == "mnist.npz" else "idx"
    url = upload(digits.write(tmp_path, form))
    assert content("mnist", f"{url}/{name}") == content("mnist", str(tmp_path))


def test_several_prepared_data_sets_are_named(prepared, tmp_path, upload):
    # The data sets have only descriptions here, and no records.
    for name in ("pets", "views"):
        (tmp_path / name / "1.0.0").mkdir(parents=True)
        source = prepared / name / "1.0.0" / "dataset_info.json"
        (tmp_path / name / "1.0.0" / source.name).write_bytes(source.read_bytes())
    match = "has 2 prepared data sets, pets/1.0.0, views/1.0.0: give the directory"
    fails("tfds", str(tmp_path), match)
    fails("tfds", upload(tmp_path), match)
