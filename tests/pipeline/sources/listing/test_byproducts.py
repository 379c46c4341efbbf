"""Image files that lie beside photographs but are byproducts of programs."""

import json
import logging
import os

import pytest

from pipeline import contract
from pipeline.planning.dataset_settings import Settings
from pipeline.sources.listing import byproducts, image_files
from tests import rights
from tests.pipeline import calls

LIBRARY = "in a photo library (thumbnails and previews)"


def write(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def listed_keys(path) -> set[str]:
    return {key for key, _ in image_files.find_images(str(path)).images}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (
            "anna/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg",
            "in @eaDir (thumbnails of Synology)",
        ),
        ("@EADIR/1.jpg/x.jpg", "in @eaDir (thumbnails of Synology)"),
        ("anna/SYNOPHOTO_THUMB_XL.jpg", "in @eaDir (thumbnails of Synology)"),
        ("anna/@__thumb/s8001.jpg", "in @__thumb (thumbnails of QNAP)"),
        ("__MACOSX/anna/1.jpg", "in __MACOSX (sidecars of macOS)"),
        ("Mine Previews.lrdata/a/1.jpg", "in lrdata (previews of Lightroom)"),
        ("appdata_oc12ab/preview/1.jpg", "in appdata (thumbnails of Nextcloud)"),
        ("$RECYCLE.BIN/S-1-5/1.jpg", "deleted or lost"),
        ("#recycle/1.jpg", "deleted or lost"),
        ("lost+found/#12.jpg", "deleted or lost"),
        ("FOUND.000/1.jpg", "deleted or lost"),
        ("#snapshot/day/1.jpg", "in snapshots (older versions)"),
        ("System Volume Information/1.jpg", "of the system"),
        ("P.photoslibrary/resources/derivatives/1.jpg", LIBRARY),
        ("P.photolibrary/Previews/2014/1.jpg", LIBRARY),
        ("P.aplibrary/Thumbnails/1.jpg", LIBRARY),
        ("anna/.thumbnails/1.jpg", "hidden"),
        ("anna/.picasaoriginals/1.jpg", "hidden"),
        ("anna/.@__thumb/1.jpg", "hidden"),
        ("anna/._1.jpg", "hidden"),
        (".Trash-1000/files/1.jpg", "hidden"),
        (".ipynb_checkpoints/1-checkpoint.jpg", "hidden"),
        ("anna/Thumbs.db", ".db"),
    ],
)
def test_byproducts_are_skipped_and_counted(tmp_path, name, kind, caplog):
    write(tmp_path, "anna/1.jpg", name)
    with caplog.at_level(logging.INFO, logger="absl"):
        assert listed_keys(tmp_path) == {"anna/1.jpg"}
    assert f"skipped 1 file other than images: 1 {kind}" in caplog.messages
    assert listed_keys(f"{tmp_path}/**/*.jpg") == {"anna/1.jpg"}
    (tmp_path / "anna" / "1.jpg").unlink()
    with pytest.raises(contract.DatasetError) as error:
        listed_keys(tmp_path)
    assert "has no image (.jpg, .jpeg, " in str(error.value)
    assert f"only 1 {kind}: give a directory of images" in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "thumbnails/1.jpg",
        "Thumbs/1.jpg",
        "originals/1.jpg",
        "masters/1.jpg",
        "resources/1.jpg",
        "1-edited.jpg",
        "recycled bottles/1.jpg",
        "snapshot/1.jpg",
        "P.photoslibrary/originals/0/1.jpg",
        "P.aplibrary/Masters/2014/1.jpg",
        "overview.png",
        "images/1.png",
        "eval/1.png",
    ],
)
def test_what_may_be_photographs_is_read(tmp_path, name):
    assert listed_keys(write(tmp_path, name)) == {name}


def test_every_file_of_a_folder_is_counted(tmp_path, caplog):
    write(tmp_path, *(f"{at}.jpg" for at in range(30)))
    write(tmp_path, *(f"@eaDir/{at}.jpg/SYNOPHOTO_THUMB_M.jpg" for at in range(30)))
    with caplog.at_level(logging.INFO, logger="absl"):
        assert len(listed_keys(tmp_path)) == 30
    line = "skipped 30 files other than images: 30 in @eaDir (thumbnails of Synology)"
    assert line in caplog.messages
    caplog.clear()
    # A pattern that does not reach the thumbnails skips nothing.
    with caplog.at_level(logging.INFO, logger="absl"):
        assert len(listed_keys(f"{tmp_path}/*.jpg")) == 30
    assert caplog.messages == []


def test_a_folder_that_the_user_chose_is_read(tmp_path):
    write(tmp_path, "@eaDir/1.jpg", "P.photoslibrary/resources/2.jpg")
    assert listed_keys(tmp_path / "@eaDir") == {"1.jpg"}
    assert listed_keys(tmp_path / "P.photoslibrary" / "resources") == {"2.jpg"}
    # A photo library keeps its photographs in the folder `originals`.
    write(tmp_path, "P.photoslibrary/originals/3.jpg")
    assert listed_keys(tmp_path / "P.photoslibrary") == {"originals/3.jpg"}


def test_a_folder_of_the_system_need_not_be_readable(tmp_path):
    write(tmp_path, "1.jpg", "lost+found/2.jpg")
    (tmp_path / "lost+found").chmod(0)
    try:
        assert rights.call_as_user(listed_keys, tmp_path) == {"1.jpg"}
    finally:
        (tmp_path / "lost+found").chmod(0o755)


def test_a_folder_of_the_system_is_not_looked_into(tmp_path, monkeypatch):
    write(tmp_path, "1.jpg", "lost+found/2.jpg")
    scandir = os.scandir

    def scan(path):
        if "lost+found" in str(path):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    assert listed_keys(tmp_path) == {"1.jpg"}


RUN_FILES = ("config.json", "dataset.json", "lock", "metrics.jsonl")


@pytest.mark.parametrize("place", ["", "runs/one/"])
def test_pictures_of_a_run_are_skipped(tmp_path, place, caplog):
    pictures = ("images/samples/000000000.png", "images/strip.png")
    pictures += ("generated/traverse.gif", "eval/projector/sprite.png")
    write(tmp_path, "a/1.jpg", *(f"{place}{name}" for name in (*pictures, *RUN_FILES)))
    with caplog.at_level(logging.INFO, logger="absl"):
        assert listed_keys(tmp_path) == {"a/1.jpg"}
    assert "4 drawn for a training run" in caplog.text
    # Then: a run that has logged nothing, a copied run without its lock, and no run.
    (tmp_path / f"{place}metrics.jsonl").unlink()
    assert listed_keys(tmp_path) == {"a/1.jpg"}
    write(tmp_path, f"{place}metrics.jsonl")
    (tmp_path / f"{place}lock").unlink()
    assert listed_keys(tmp_path) == {"a/1.jpg"}
    (tmp_path / f"{place}metrics.jsonl").unlink()
    assert len(listed_keys(tmp_path)) == 5


@pytest.mark.parametrize(
    ("picture", "values"),
    [
        ("reconstruct.png", "reconstruct.npz"),
        ("interpolate.gif", "interpolate.npz"),
        ("traverse-where=Smiling=1.gif", "traverse-where=Smiling=1.npz"),
        ("neighbours-latents=z-samples.png", "neighbours-latents=z.npz"),
        ("sample-draw.png", "sample.npz"),
        ("decode-probability.png", "decode.npz"),
    ],
)
def test_generated_pictures_are_skipped(tmp_path, picture, values, caplog):
    # A picture without a file of values belongs to the user.
    write(tmp_path, "a/1.jpg", f"out/{picture}", f"out/{values}", f"a/{picture}")
    with caplog.at_level(logging.INFO, logger="absl"):
        assert listed_keys(tmp_path) == {"a/1.jpg", f"a/{picture}"}
    assert "1 drawn for a trained model" in caplog.text


def test_shards_of_a_dataset_are_one_kind(tmp_path, caplog):
    names = [f"ds/images-train.tfrecord-0000{at}-of-00004" for at in range(4)]
    with caplog.at_level(logging.INFO, logger="absl"):
        assert listed_keys(write(tmp_path, "1.jpg", *names)) == {"1.jpg"}
    assert "skipped 4 files other than images: 4 .tfrecord" in caplog.messages


def test_a_run_alone_is_an_error(tmp_path):
    write(tmp_path, "images/strip.png", *RUN_FILES)
    with pytest.raises(contract.DatasetError, match="1 drawn for a training run"):
        listed_keys(tmp_path)


def photos_of(root, make_face):
    for at in range(40):
        path = root / "ab"[at % 2] / f"{at}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_face(at))
    return root


@pytest.mark.parametrize("place", ["prepared", "a/out"])
def test_a_dataset_among_its_photographs_is_skipped(tmp_path, make_face, place, caplog):
    root = photos_of(tmp_path / "photos", make_face)

    def run():
        return calls.prepare(
            Settings(source="folder", image_size=8),
            input_dir=str(root),
            output=str(root / place),
            with_stats=True,
        )

    first = run()
    assert (root / place / contract.OVERVIEW_NAME).exists()
    with caplog.at_level(logging.INFO, logger="absl"):
        again = run()
    assert first is not None
    assert again is not None
    assert again.digest == first.digest
    assert first.features["label"].names == ("a", "b")
    assert "1 drawn for a prepared dataset" in caplog.text
    # The listing is the same after a kill just before the manifest.
    (root / place / contract.MANIFEST_NAME).unlink()
    assert run() == first


def test_a_dataset_alone_is_an_error(tmp_path, make_face):
    root = photos_of(tmp_path / "photos", make_face)
    output = tmp_path / "out"
    settings = Settings(source="folder", image_size=8)
    calls.prepare(settings, input_dir=str(root), output=str(output), with_stats=True)
    with pytest.raises(contract.DatasetError, match="1 drawn for a prepared dataset"):
        listed_keys(output)


def test_an_overview_of_the_users_is_an_image(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"name": "a web page"}))
    assert listed_keys(write(tmp_path, "overview.png")) == {"overview.png"}


def test_byproducts_of_a_bucket(photos_of_bucket, caplog):
    with caplog.at_level(logging.INFO, logger="absl"):
        assert listed_keys(photos_of_bucket) == {"anna/1.jpg"}
    for line in (
        "2 hidden",
        "1 in @eaDir (thumbnails of Synology)",
        "1 drawn for a prepared",
    ):
        assert line in caplog.text
    assert "1 drawn for a training run" in caplog.text


@pytest.fixture
def photos_of_bucket(tmp_path, upload):
    names = ("anna/1.jpg", "anna/@eaDir/1.jpg/t.jpg", ".Trash/1.jpg", "anna/._1.jpg")
    names += ("ds/overview.png", f"ds/{contract.REJECTED_NAME}", "run/images/a.png")
    write(tmp_path / "raw", *names, *(f"run/{name}" for name in RUN_FILES))
    return upload(tmp_path / "raw")


def test_a_name_has_one_kind_in_any_place():
    for path in (["@eaDir"], ["a", "@eaDir"], ["@eaDir", "b", "c.jpg"]):
        assert (
            byproducts.kind_of(path, "/photos") == "in @eaDir (thumbnails of Synology)"
        )
    assert byproducts.kind_of(["a", "b.jpg"], "/photos/@eaDir") is None
