import json
import logging
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from pipeline import contract, sources, verify
from pipeline.images import rgb, squares
from pipeline.planning.dataset_settings import Settings
from pipeline.sources import image_table, splits
from pipeline.sources.listing import copies, image_files
from pipeline.storage.files import PROGRESS_DIR
from tests.pipeline import calls


def write_folder(root, files):
    for key, data in files.items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


@pytest.fixture
def classes(make_face):
    """Returns 40 images of three classes, keyed by file name."""
    names = ("dog", "Ärger & co", "cat")
    return {f"{names[at % 3]}/{at:02d}.jpg": make_face(at) for at in range(40)}


def list_folder(root, **settings):
    return sources.list_images("folder", str(root), settings)


def split_of(listing) -> dict[str, str]:
    return {
        key: name for name, split in listing.by_split().items() for key in split.keys
    }


def run(root, output, *, max_rejected_fraction=0.001, overwrite=False, **settings):
    values = {"image_size": 8, "shard_size": 4, **settings}
    return calls.prepare(
        Settings(source="folder", **values),
        input_dir=str(root),
        output=str(output),
        max_rejected_fraction=max_rejected_fraction,
        overwrite=overwrite,
    )


def fails(match):
    return pytest.raises(contract.DatasetError, match=match)


def rejects(output) -> dict[str, str]:
    lines = (output / contract.REJECTED_NAME).read_text().splitlines()
    return {json.loads(line)["key"]: json.loads(line)["reason"] for line in lines}


def kept_message(caplog) -> str:
    return [text for text in caplog.messages if text.startswith("kept ")][-1]


def test_a_listing_has_sorted_keys_locations_and_labels(classes, tmp_path):
    listing = list_folder(write_folder(tmp_path, classes))
    assert listing.name == "images"
    assert listing.num_channels == 3
    assert listing.split_fractions == splits.DEFAULT_FRACTIONS
    names = ("cat", "dog", "Ärger & co")
    assert listing.features == {"label": contract.Feature("int64", (), names)}
    assert list(listing.by_split()) == ["train", "validation", "test"]
    assert set(split_of(listing)) == set(classes)
    for split in listing.by_split().values():
        assert list(split.keys) == sorted(split.keys)
        expected = [names.index(key.split("/")[0]) for key in split.keys]
        assert split.features["label"].tolist() == expected
        for key, (size, mtime) in zip(split.keys, split.locations, strict=True):
            info = (tmp_path / key).stat()
            assert (size, mtime) == (info.st_size, info.st_mtime_ns)


def test_only_images_that_all_lie_in_folders_have_labels(classes, tmp_path, caplog):
    write_folder(tmp_path, classes)
    # Files that are no images, and folders without images, make no difference.
    write_folder(tmp_path, {"notes.txt": b"", "annotations/a.xml": b""})
    with caplog.at_level(logging.INFO, logger="absl"):
        assert len(list_folder(tmp_path).features["label"].names) == 3
    assert "3 classes: cat, dog, Ärger & co" in caplog.text
    (tmp_path / "logo.png").write_bytes(b"x")
    with caplog.at_level(logging.INFO, logger="absl"):
        listing = list_folder(tmp_path)
    assert "no labels, because logo.png is not in the folder of a class" in caplog.text
    assert listing.features == {}
    assert all(split.features == {} for split in listing.by_split().values())
    flat = write_folder(tmp_path / "flat", {f"{n}.png": b"x" for n in range(40)})
    assert list_folder(flat).features == {}


def test_the_class_is_the_topmost_folder(make_face, tmp_path):
    write_folder(tmp_path, {f"a/b{at}/c/{at}.jpg": b"x" for at in range(40)})
    assert list_folder(tmp_path).features["label"].names == ("a",)


@pytest.mark.parametrize("validation", ["validation", "val", "valid"])
def test_folders_named_as_splits_are_the_splits(tmp_path, validation):
    files = {
        f"{split}/{name}/{at}.png": b"x"
        for split, names in (
            ("train", ("cat", "dog")),
            (validation, ("cat", "emu")),
            ("test", ("dog",)),
        )
        for name in names
        for at in range(3)
    }
    listing = list_folder(write_folder(tmp_path, files))
    assert listing.split_fractions is None
    expected = {
        key: key.split("/")[0].replace(validation, "validation") for key in files
    }
    assert split_of(listing) == expected
    assert listing.features["label"].names == ("cat", "dog", "emu")
    labels = listing.by_split()["validation"].features["label"]
    assert labels.tolist() == [0, 0, 0, 2, 2, 2]
    # If one image has no class, no image has a label.
    write_folder(tmp_path, {"test/0.png": b"x"})
    assert list_folder(tmp_path).features == {}


def test_not_every_split_needs_a_folder(tmp_path):
    write_folder(tmp_path, {"train/a.png": b"x", "test/b.png": b"x"})
    listing = list_folder(tmp_path)
    assert split_of(listing) == {"train/a.png": "train", "test/b.png": "test"}
    assert listing.features == {}


def test_folders_that_only_look_like_splits_are_classes(tmp_path, caplog):
    files = {
        f"{name}/{at}.png": b"x"
        for name in ("train", "plane", "bus")
        for at in range(40)
    }
    write_folder(tmp_path, files)
    with caplog.at_level(logging.INFO, logger="absl"):
        listing = list_folder(tmp_path)
    assert "train is used as a class, like the folders beside it; split_folders=" in (
        caplog.text
    )
    assert listing.features["label"].names == ("bus", "plane", "train")
    assert listing.split_fractions == splits.DEFAULT_FRACTIONS


def test_split_folders_have_labels_keys_and_a_line_of_the_log(tmp_path, caplog):
    files = {
        f"data/{folder}/{name}/{at}.png": b"x"
        for folder in ("Train", "test1")
        for name in ("cat", "dog")
        for at in range(3)
    }
    write_folder(tmp_path, files)
    with caplog.at_level(logging.INFO, logger="absl"):
        listing = list_folder(tmp_path)
    line = "sub-folders used as splits: data/Train is train, data/test1 is test"
    assert line in caplog.messages
    assert listing.split_fractions is None
    assert listing.features["label"].names == ("cat", "dog")
    names = {"Train": "train", "test1": "test"}
    assert split_of(listing) == {key: names[key.split("/")[1]] for key in files}
    labels = listing.by_split()["test"].features["label"]
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_the_user_names_the_folders_of_splits(classes, tmp_path, caplog):
    files = {
        f"{folder}/{key}": data
        for folder in ("train", "extra", "test", "old")
        for key, data in classes.items()
    }
    root = write_folder(tmp_path / "in", files)
    with fails("not all of them are splits: give split_folders=train=train,test=te"):
        list_folder(root)
    pairs = ("test=test", "train=./extra/", "train=train")
    with caplog.at_level(logging.INFO, logger="absl"):
        listing = list_folder(root, split_folders=pairs)
    assert "split_folders leaves out 40 images" in caplog.messages
    names = {"train": "train", "extra": "train", "test": "test"}
    assert split_of(listing) == {
        key: names[folder] for key in files if (folder := key.split("/")[0]) in names
    }
    assert listing.features["label"].names == ("cat", "dog", "Ärger & co")
    # A folder that is left out is not part of the source.
    (root / "old" / "cat" / "new.jpg").write_bytes(b"x")
    again = list_folder(root, split_folders=pairs)
    assert again.fingerprint == listing.fingerprint
    manifest = run(root, tmp_path / "out", split_folders=pairs)
    assert manifest.settings["split_folders"] == list(pairs)
    assert manifest.splits["test"].num_examples == 40


def test_classes_may_have_the_splits_in_them(tmp_path, caplog):
    files = {
        f"{name}/{folder}/{at}.png": b"x"
        for name in ("bottle", "cable")
        for folder in ("train/good", "test/broken", "test/good", "ground_truth/broken")
        for at in range(2)
    }
    write_folder(tmp_path, files)
    flag = r"split_folders=train=\*/train,test=\*/test"
    with fails(f"they are inside other folders: give {flag} to use only these fold"):
        list_folder(tmp_path)
    with caplog.at_level(logging.INFO, logger="absl"):
        listing = list_folder(tmp_path, split_folders=["train=*/train", "test=*/test"])
    assert "split_folders leaves out 4 images" in caplog.messages
    assert "sub-folders used as splits: */train is train, */test is test" in (
        caplog.messages
    )
    assert listing.features["label"].names == ("bottle", "cable")
    names = {"train": "train", "test": "test"}
    assert split_of(listing) == {
        key: names[folder] for key in files if (folder := key.split("/")[1]) in names
    }
    images = listing.by_split()["test"]
    labels = dict(zip(images.keys, images.features["label"].tolist(), strict=True))
    assert labels == {key: int(key.startswith("cable")) for key in images.keys}


def test_no_folder_is_a_split_if_the_user_says_so(tmp_path):
    files = {f"{name}/{at}.png": b"x" for name in ("train", "val") for at in range(40)}
    write_folder(tmp_path, files)
    listing = list_folder(
        tmp_path, split_folders=["none"], split_fractions=[0.8, 0.1, 0.1]
    )
    assert listing.features["label"].names == ("train", "val")
    assert listing.split_fractions == (0.8, 0.1, 0.1)
    assert list_folder(tmp_path, split_folders=["none"]).split_fractions == (
        splits.DEFAULT_FRACTIONS
    )


def test_split_folders_that_cannot_be_used(tmp_path):
    write_folder(tmp_path, {"train/a.png": b"x", "val/b.png": b"x"})
    with fails("^`split_folders` names dev, but input=.* has no image there: give"):
        list_folder(tmp_path, split_folders=["train=train", "validation=dev"])
    with fails("leave `split_fractions` out, or give split_folders=none"):
        list_folder(tmp_path, split_folders=["train=train"], split_fractions=[1, 0, 0])
    with fails("^`split_folders` does not apply to source=mnist, only to folder"):
        Settings(source="mnist", split_folders=("none",))
    for path in ("*", "a/*", "*/*/train"):
        with fails(r"must be pairs SPLIT=FOLDER.*: \*/train"):
            Settings(source="folder", split_folders=(f"train={path}",))
    with fails(r"^`split_folders` names \*/dev, but input=.* has no image there: give"):
        list_folder(tmp_path, split_folders=["train=*/dev"])
    with fails("^split_folders=val=x must be pairs SPLIT=FOLDER"):
        Settings(source="folder", split_folders=("val=x",))


def test_folders_that_are_splits_but_not_quite_are_an_error(tmp_path):
    write_folder(tmp_path, {"train/a.png": b"x", "val/b.png": b"x"})
    with fails(
        r"has its splits as sub-folders \(train, val\): leave `split_fractions` out"
    ):
        list_folder(tmp_path, split_fractions=[0.8, 0.1, 0.1])
    write_folder(tmp_path, {"logo.png": b"x"})
    with fails(
        r"\(train, val\), but the image logo.png is outside them: move the image"
    ):
        list_folder(tmp_path)
    (tmp_path / "logo.png").unlink()
    write_folder(tmp_path, {"validation/a.png": b"x"})
    with fails(
        r"\(train, val, validation\), but more than one of them is the validation split"
    ):
        list_folder(tmp_path)


def test_fractions_decide_the_splits_image_by_image(tmp_path):
    files = {f"{at}.png": b"x" for at in range(2000)}
    write_folder(tmp_path, files)
    listing = list_folder(tmp_path, split_fractions=[0.5, 0.3, 0.2])
    sizes = [len(split.keys) for split in listing.by_split().values()]
    np.testing.assert_allclose(np.array(sizes) / 2000, [0.5, 0.3, 0.2], atol=0.03)
    before = split_of(listing)
    write_folder(tmp_path, {"0000.png": b"x", "zzz.png": b"x"})
    (tmp_path / "77.png").unlink()
    after = split_of(list_folder(tmp_path, split_fractions=[0.5, 0.3, 0.2]))
    assert {k: v for k, v in after.items() if k in before} == {
        k: v for k, v in before.items() if k != "77.png"
    }
    # A larger fraction for `train` moves no image out of it. Another seed divides all
    # images anew.
    larger = split_of(list_folder(tmp_path, split_fractions=[0.7, 0.1, 0.2]))
    assert all(larger[key] == "train" for key in after if after[key] == "train")
    assert split_of(list_folder(tmp_path, split_fractions=[0.5, 0.3, 0.2], seed=1)) != (
        after
    )


def test_a_split_of_no_fraction_does_not_exist(classes, tmp_path):
    write_folder(tmp_path, classes)
    listing = list_folder(tmp_path, split_fractions=[0.6, 0.4, 0.0])
    assert list(listing.by_split()) == ["train", "validation"]
    assert list(list_folder(tmp_path, split_fractions=[1, 0, 0]).by_split()) == [
        "train"
    ]
    manifest = run(tmp_path, tmp_path / "out", split_fractions=(0.0, 0.0, 1.0))
    assert list(manifest.splits) == ["test"]
    assert manifest.settings["split_fractions"] == [0.0, 0.0, 1.0]


def test_a_split_that_stays_empty_is_an_error(tmp_path):
    write_folder(tmp_path, {"a.png": b"x", "b.png": b"x"})
    with fails(
        "none of the 2 images falls in split 'validation', which should have a "
        "fraction of 0.1: add images, or give other `split_fractions`"
    ):
        list_folder(tmp_path)


def test_a_class_that_tfds_could_not_name_is_an_error(tmp_path):
    write_folder(tmp_path, {f" cat/{at}.png": b"x" for at in range(40)})
    with fails("the folder ' cat' cannot name a class, .*: rename it"):
        list_folder(tmp_path)


def test_copies_are_dropped_with_the_flag(tmp_path, caplog):
    files = {f"{at:02d}.png": f"{at}".encode() * 9 for at in range(40)}
    files |= {"b.png": files["07.png"], "a.png": files["07.png"], "empty.png": b""}
    files |= {"00-first.png": files["03.png"], "void.png": b""}
    write_folder(tmp_path, files)
    assert len(split_of(list_folder(tmp_path))) == 45
    with caplog.at_level(logging.INFO, logger="absl"):
        listing = list_folder(tmp_path, deduplicate=True)
    dropped = {"03.png", "a.png", "b.png", "void.png"}
    assert set(split_of(listing)) == files.keys() - dropped
    assert (
        "dropped 4 of 45 images as copies: 03.png of "
        "00-first.png, a.png of 07.png, b.png of 07.png, void.png of empty.png"
    ) in caplog.text


def test_missing_files_are_no_copies_of_each_other(tmp_path):
    write_folder(tmp_path, {"a.png": b"x", "b.png": b"x"})
    (tmp_path / "list.txt").write_text("a.png\nb.png\nabsent.png\ngone.png\n")
    listing = list_folder(
        tmp_path / "list.txt", deduplicate=True, split_fractions=[1, 0, 0]
    )
    assert set(split_of(listing)) == {"a.png", "absent.png", "gone.png"}


def test_no_file_is_opened_to_list_it(classes, tmp_path, monkeypatch):
    write_folder(tmp_path, classes)
    opened = []
    monkeypatch.setattr("builtins.open", lambda *args, **_: opened.append(args))
    list_folder(tmp_path)
    assert opened == []


def test_a_file_that_goes_while_it_is_compared_is_an_error(tmp_path):
    write_folder(tmp_path, {"a.png": b"x", "b.png": b"x"})
    images = image_files.find_images(str(tmp_path)).images
    blocks = list(image_table.in_blocks(images))
    (tmp_path / "b.png").unlink()
    with fails("cannot read .*b.png"):
        list(copies.without_copies(blocks, str(tmp_path)))


def test_the_fingerprint_is_of_keys_and_sizes(tmp_path):
    files = {f"{at}.png": b"x" * at for at in range(40)}
    base = list_folder(write_folder(tmp_path / "a", files)).fingerprint
    os.utime(tmp_path / "a" / "3.png", (0, 0))
    assert list_folder(tmp_path / "a").fingerprint == base
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert list_folder(tmp_path / "b").fingerprint == base
    (tmp_path / "b" / "3.png").write_bytes(b"longer")
    larger = list_folder(tmp_path / "b").fingerprint
    (tmp_path / "b" / "3.png").rename(tmp_path / "b" / "three.png")
    assert len({base, larger, list_folder(tmp_path / "b").fingerprint}) == 3


def test_the_digest_is_of_content_keys_and_settings(classes, tmp_path):
    first = run(write_folder(tmp_path / "one", classes), tmp_path / "one.out")
    backwards = dict(reversed(classes.items()))
    moved = write_folder(tmp_path / "elsewhere" / "two", backwards)
    for at, key in enumerate(classes):
        os.utime(moved / key, (at, at))
    assert run(moved, tmp_path / "two.out").digest == first.digest
    assert run(f"{moved}/**/*.jpg", tmp_path / "glob.out").digest == first.digest
    (moved / "list.txt").write_text("\n".join(backwards))
    listed = run(moved / "list.txt", tmp_path / "list.out")
    assert listed.digest == first.digest
    assert verify.find_faults(str(tmp_path / "list.out"), listed) == []
    other = run(moved, tmp_path / "other.out", split_fractions=(0.7, 0.2, 0.1))
    assert other.digest != first.digest


def test_the_settings_of_the_manifest(classes, tmp_path):
    write_folder(tmp_path / "in", classes)
    base = {
        **{"source": "folder", "image_size": 8, "image_dtype": "float16", "seed": 0},
        **{"shard_size": 4, "resize": "bilinear", "crop_size": 0},
    }
    fractions = {"split_fractions": [0.8, 0.1, 0.1]}
    manifest = run(tmp_path / "in", tmp_path / "a")
    assert manifest.settings == {**base, **fractions}
    # The default fractions, given explicitly, make the same dataset.
    spelled = run(tmp_path / "in", tmp_path / "a", split_fractions=(0.8, 0.1, 0.1))
    assert spelled.digest == manifest.digest
    manifest = run(tmp_path / "in", tmp_path / "b", deduplicate=True)
    assert manifest.settings == {**base, **fractions, "deduplicate": True}
    write_folder(tmp_path / "split" / "train", classes)
    manifest = run(tmp_path / "split", tmp_path / "c")
    assert manifest.settings == base
    with fails("split_fractions=0.8,0.1,0.1 before, 0.5,0.4,0.1 now"):
        run(tmp_path / "in", tmp_path / "a", split_fractions=(0.5, 0.4, 0.1))


def test_a_file_that_changed_in_place_is_read_again(classes, tmp_path, caplog):
    # All files have the same size, like bitmaps.
    classes = {key: data.ljust(9000, b"\0") for key, data in classes.items()}
    root, output = write_folder(tmp_path / "in", classes), tmp_path / "out"
    first = run(root, output)
    # The output looks as if the run had been killed before it published the dataset.
    (output / contract.MANIFEST_NAME).unlink()
    (root / "cat/05.jpg").write_bytes(classes["cat/08.jpg"])
    with caplog.at_level(logging.INFO, logger="absl"):
        second = run(root, output)
    number = sum(len(split.shards) for split in first.splits.values())
    assert kept_message(caplog) == f"kept {number - 1} of {number} shards"
    assert second.digest == run(root, tmp_path / "fresh").digest != first.digest
    write_folder(root, {"cat/new.jpg": b"x"})
    with fails("fingerprint of the source .* before"):
        run(root, output)


def test_tfds_has_the_names_of_the_classes(classes, tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    run(write_folder(tmp_path / "in", classes), tmp_path / "out", image_dtype="uint8")
    builder = tfds.builder_from_directory(tmp_path / "out")
    label = builder.info.features["label"]
    assert isinstance(label, tfds.features.ClassLabel)
    assert label.names == ["cat", "dog", "Ärger & co"]
    keys = set()
    for split in ("train", "validation", "test"):
        for example in builder.as_dataset(split=split).as_numpy_iterator():
            key = example["key"].decode()
            keys.add(key)
            assert label.int2str(example["label"]) == key.split("/")[0]
            expected = squares.preprocess(
                rgb.decode_as_rgb(classes[key]),
                image_size=8,
                image_dtype="uint8",
                resize="bilinear",
                crop_size=0,
            )
            np.testing.assert_array_equal(example["image"], expected)
    assert keys == set(classes)


def test_the_labels_file_comes_and_goes_with_the_labels(classes, tmp_path):
    root, output = write_folder(tmp_path / "in", classes), tmp_path / "out"
    labels = output / "label.labels.txt"
    first = run(root, output)
    assert labels.read_text() == "cat\ndog\nÄrger & co\n"
    labels.unlink()
    assert run(root, output).digest == first.digest
    assert labels.exists()
    (root / "logo.jpg").write_bytes(classes["cat/02.jpg"])
    assert "label" not in run(root, output, overwrite=True).features
    assert not labels.exists()


def test_messy_files_are_used_or_named(encode, make_face, tmp_path):
    pixels = np.asarray(Image.effect_noise((40, 30), 90).convert("RGB"))
    files = {f"sound {at}.jpg": make_face(at) for at in range(20)}
    files |= {
        "photo.jpg": encode(pixels, "WEBP"),
        "palette.png": encode(pixels, "PNG", "P"),
        "print.jpg": encode(pixels, "JPEG", "CMYK"),
        "tiny.jpg": make_face(0, 27, 27),
        "line.png": encode(np.zeros((1, 6000, 3), np.uint8), "PNG"),
        "cut.png": encode(pixels, "PNG")[:-900],
        "empty.jpg": b"",
        "page.jpg": b"<html></html>",
        "\udce9.jpg": b"x",
    }
    root = write_folder(tmp_path / "in", files)
    settings = {"split_fractions": (1.0, 0.0, 0.0)}
    with fails("4 of 29 images were rejected.*max_rejected_fraction=0.001"):
        run(root, tmp_path / "out", **settings)
    manifest = run(root, tmp_path / "out", max_rejected_fraction=0.2, **settings)
    assert manifest.splits["train"].num_examples == 25
    assert rejects(tmp_path / "out") == {
        "cut.png": "truncated",
        "empty.jpg": "unreadable",
        "page.jpg": "unreadable",
        r"\xe9.jpg": "name",
    }
    assert manifest.splits["train"].rejected == {
        **{"name": 1, "truncated": 1, "unreadable": 2}
    }


def test_missing_files_of_a_list_are_counted_and_named(classes, tmp_path):
    root = write_folder(tmp_path / "in", classes)
    lines = [*classes, "cat/absent.jpg", "../in/dog/absent too.jpg"]
    (root / "list.txt").write_text("\n".join(lines))
    manifest = run(
        root / "list.txt",
        tmp_path / "out",
        split_fractions=(1.0, 0.0, 0.0),
        max_rejected_fraction=0.1,
    )
    assert manifest.splits["train"].rejected == {"missing": 2}
    assert rejects(tmp_path / "out") == {
        "cat/absent.jpg": "missing",
        "dog/absent too.jpg": "missing",
    }


def test_nothing_is_written_outside_of_the_output(make_face, tmp_path):
    photos = {f"..{at}/~{at}/$(x) 'q' \"-{at}.jpg": make_face(at) for at in range(30)}
    write_folder(tmp_path / "in" / "deep" / "down", {"x.jpg": make_face(0)})
    write_folder(tmp_path / "in" / "photos", {f"p{k}": v for k, v in photos.items()})
    (tmp_path / "in" / "photos" / "list.txt").write_text(
        "\n".join(["../deep/down/x.jpg", *(f"p{key}" for key in photos)])
    )
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    manifest = run(tmp_path / "in" / "photos" / "list.txt", tmp_path / "out")
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert all(path.is_relative_to(tmp_path / "out") for path in new)
    assert sum(split.num_examples for split in manifest.splits.values()) == 31
    progress_dir = tmp_path / "out" / PROGRESS_DIR
    assert not list(progress_dir.glob("*.npz"))
