"""Sources whose files cannot be opened: pipes, devices, too many open files."""

import contextlib
import os
import pathlib
import resource
import shutil
import socket
from collections.abc import Callable, Iterator

import pytest

from pipeline import contract, sources
from pipeline.process import limits
from pipeline.sources.mnist import mnist
from pipeline.storage import manifests
from tests.pipeline.sources.mnist.amat_files import write_files

# Opening a pipe waits forever, so a faulty test would hang without a time limit.
pytestmark = pytest.mark.timeout(200)

KINDS = ("named pipe", "socket", "device")


def put(kind: str, path: pathlib.Path) -> None:
    """Replaces a regular file by a pipe, a socket or a device."""
    path.unlink(missing_ok=True)
    if kind == "named pipe":
        os.mkfifo(path)
    elif kind == "device":
        # Not every user may make a device, so link to one.
        path.symlink_to("/dev/zero")
    else:
        with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)


@pytest.fixture
def make(request, tmp_path) -> Callable[[str], pathlib.Path]:
    """Returns a function that makes the files for a form of a source."""
    root = tmp_path / "raw"

    def write(form: str) -> pathlib.Path:
        of = request.getfixturevalue
        if form.startswith("mnist "):
            of("digits").write(root, form.split()[1])
        elif form == "binarized_mnist":
            write_files(root)
        elif form == "tfds":
            shutil.copytree(of("prepared") / "pets", root)
        elif form.startswith("celeba"):
            of("celeba").write(root, as_folder=form == "celeba folder")
        else:
            root.mkdir()
            for number in range(40):
                (root / f"{number}.jpg").write_bytes(of("make_face")(number))
            (root / "list.txt").write_text("1.jpg\n")
        return root

    return write


# Form of a source, one of its files, and the path in the source to give as --input.
FILES = [
    ("celeba zip", "img_align_celeba.zip", ""),
    ("celeba zip", "list_eval_partition.txt", ""),
    ("celeba zip", "list_attr_celeba.txt", ""),
    ("celeba zip", "list_landmarks_align_celeba.txt", ""),
    ("mnist idx", "train-images-idx3-ubyte", ""),
    ("mnist idx", "t10k-labels-idx1-ubyte", "train-images-idx3-ubyte"),
    ("mnist gz", "train-labels-idx1-ubyte.gz", ""),
    ("mnist npz", "mnist.npz", ""),
    ("mnist npz", "mnist.npz", "mnist.npz"),
    ("folder", "list.txt", "list.txt"),
    ("tfds", "dataset_info.json", ""),
    ("tfds", "features.json", ""),
    ("binarized_mnist", "binarized_mnist_valid.amat", ""),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("form", "name", "given"), FILES)
def test_a_source_has_regular_files(make, form, name, given, kind):
    root = make(form)
    path = next(root.rglob(name))
    put(kind, path)
    match = f"{path} is a {kind}: replace it with a regular file"
    with pytest.raises(contract.DatasetError, match=match):
        sources.list_images(form.split()[0], str(root / given))


@pytest.mark.parametrize(
    "form", ["celeba zip", "celeba folder", "folder", "tfds", "binarized_mnist"]
)
def test_a_file_that_became_a_pipe_is_not_waited_for(make, form):
    root = make(form)
    listing = sources.list_images(form.split()[0], str(root))
    for path in root.rglob("*"):
        if path.suffix in (".zip", ".jpg", ".amat") or ".tfrecord" in path.name:
            put("named pipe", path)
    images = listing.by_split()["train"]
    with pytest.raises(contract.DatasetError, match="is a named pipe: replace"):
        listing.reader.read(images.keys[0], images.locations[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_manifest_is_a_regular_file(tmp_path, kind):
    path = tmp_path / contract.MANIFEST_NAME
    put(kind, path)
    for load in (contract.load_manifest, manifests.load):
        with pytest.raises(contract.DatasetError, match=f"^{path} is a {kind}: repl"):
            load(str(tmp_path))


@contextlib.contextmanager
def without_files() -> Iterator[None]:
    """Lowers the limit of open files to 3, so this process can open no more files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


FORMS = [
    *("celeba zip", "celeba folder", "mnist idx", "mnist npz", "folder", "tfds"),
    "binarized_mnist",
]


@pytest.mark.parametrize("form", FORMS)
def test_too_many_open_files_are_named_while_a_source_is_listed(make, form):
    root = make(form)
    # The first listing imports all modules, while files can still be opened.
    sources.list_images(form.split()[0], str(root)).by_split()
    with pytest.raises((OSError, contract.DatasetError)) as raised, without_files():
        sources.list_images(form.split()[0], str(root)).by_split()
    assert "raise the limit with ulimit -n" in str(limits.shortage_text(raised.value))


@pytest.mark.parametrize("form", FORMS)
def test_too_many_open_files_are_named_while_images_are_read(make, form):
    listing = sources.list_images(form.split()[0], str(make(form)))
    images = listing.by_split()["train"]
    mnist._load_listed.cache_clear()
    with pytest.raises((OSError, contract.DatasetError)) as raised, without_files():
        listing.reader.read(images.keys[0], images.locations[0])
    assert "raise the limit with ulimit -n" in str(limits.shortage_text(raised.value))
