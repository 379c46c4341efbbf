import pathlib

import pytest

from pipeline import contract
from pipeline.storage import contents, manifests


def make(root: pathlib.Path, *names: str) -> str:
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return str(root)


@pytest.mark.parametrize(
    ("names", "kind", "example"),
    [
        ((), "empty", ""),
        ((".DS_Store",), "empty", ""),
        (("notes.txt", "a.pdf"), "other", "a.pdf, notes.txt"),
        (("b.JPG", "a.txt"), "folder", "b.JPG"),
        (("cat/1.webp", "notes.txt"), "folder", "cat/1.webp"),
        (("manifest.json", "a-train.tfrecord-00000-of-00001"), "dataset", None),
        (("manifest.json", "dataset_info.json", ".progress/lock"), "dataset", None),
        ((".progress/lock", "rejected.jsonl"), "unfinished", None),
        (("a-train.tfrecord-00000-of-00001",), "unfinished", None),
        (("faces/manifest.json", "faces/overview.png"), "datasets", None),
        (("config.json", "dataset.json", "images/1.png"), "run", None),
        (("a/config.json", "a/dataset.json", "a/images/1.png"), "runs", None),
        (("saved_model.pb", "variables/variables.index"), "export", None),
        (("img_align_celeba/000001.jpg",), "celeba", "img_align_celeba"),
        (
            ("archive/list_eval_partition.csv",),
            "celeba",
            "archive/list_eval_partition.csv",
        ),
        (
            ("train-images-idx3-ubyte.gz",),
            "mnist",
            "train-images-idx3-ubyte.gz",
        ),
        (("mnist.npz",), "mnist", "mnist.npz"),
        (
            ("binarized_mnist_test.amat",),
            "binarized_mnist",
            "binarized_mnist_test.amat",
        ),
        (
            ("celeb_a/2.1.0/dataset_info.json",),
            "tfds",
            "celeb_a/2.1.0/dataset_info.json",
        ),
    ],
)
def test_names_show_the_contents(tmp_path, names, kind, example):
    found = contents.find(make(tmp_path / "x", *names))
    assert found.kind == kind
    if example is not None:
        assert found.example == example


def test_a_file_and_an_absent_path_are_told_apart(tmp_path):
    make(tmp_path, "a.jpg")
    assert contents.find(f"{tmp_path}/a.jpg").kind == "file"
    assert contents.find(f"{tmp_path}/b").kind == "absent"


def test_the_search_is_bounded(tmp_path):
    make(tmp_path, *(f"{at:03}/notes.txt" for at in range(60)), "059/x/1.png")
    assert contents.find(str(tmp_path)).kind == "other"


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (
            ("cat/1.jpg",),
            "is no dataset, but raw images, such as cat/1.jpg: make a dataset of them "
            "with python -m pipeline.prepare --source=folder --input={} "
            "--output=DATASET, and give `dataset=DATASET`",
        ),
        (
            ("config.json", "dataset.json"),
            "is no dataset, but the workdir of a run: give a directory that "
            "pipeline.prepare wrote",
        ),
        (
            ("notes.txt",),
            "is no dataset, but other files, such as notes.txt: give a directory that "
            "pipeline.prepare wrote",
        ),
        (
            (),
            "is no dataset, but an empty directory: give a directory that "
            "pipeline.prepare wrote",
        ),
        (("a/manifest.json",), "holds datasets: give one, such as {}/a"),
    ],
)
def test_a_directory_without_a_dataset_is_described(tmp_path, names, text):
    root = make(tmp_path / "x", *names)
    with pytest.raises(contract.DatasetError) as error:
        manifests.load_local(root)
    assert str(error.value) == f"dataset={root} {text.format(root)}"


def test_a_path_that_is_no_directory_is_described(tmp_path):
    with pytest.raises(contract.DatasetError) as error:
        manifests.load_local(f"{tmp_path}/x", "latents")
    written = "give a directory that pipeline.prepare wrote"
    assert str(error.value) == (
        f"the dataset {tmp_path}/x does not exist: {written} by `latents`"
    )
    make(tmp_path, "x")
    with pytest.raises(contract.DatasetError) as error:
        manifests.load_local(f"{tmp_path}/x")
    assert str(error.value) == (
        f"dataset={tmp_path}/x is no dataset, but a file: {written}"
    )


def test_an_unfinished_or_damaged_dataset_keeps_its_error(tmp_path):
    root = make(tmp_path / "x", ".progress/lock")
    with pytest.raises(contract.DatasetError, match=r"is not finished \(no manifest"):
        manifests.load_local(root)
    (tmp_path / "x" / contract.MANIFEST_NAME).write_text("{")
    with pytest.raises(contract.DatasetError, match="is not JSON"):
        manifests.load_local(root)
