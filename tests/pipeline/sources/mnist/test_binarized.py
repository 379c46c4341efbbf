import os
import pathlib
import pickle

import numpy as np
import pytest

from benchmarks import binarize
from pipeline import contract, sources, verify
from pipeline.planning.dataset_settings import Settings
from tests.pipeline import calls
from tests.pipeline.sources.mnist.amat_files import (
    SIZES,
    TEST,
    TRAIN,
    VALID,
    draw_pixels,
    write_files,
)


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    return write_files(tmp_path / "raw")


def listed(root: pathlib.Path) -> sources.Listing:
    return sources.list_images("binarized_mnist", str(root))


def fails(root: pathlib.Path, match: str) -> None:
    with pytest.raises(contract.DatasetError, match=match) as error:
        listed(root)
    assert "\n" not in str(error.value)


def test_every_pixel_is_read(root):
    listing = listed(root)
    assert (listing.name, listing.num_channels) == ("binarized_mnist", 1)
    assert listing.features == {}
    assert list(listing.by_split()) == ["train", "validation", "test"]
    reader = pickle.loads(pickle.dumps(listing.reader))
    for split, images in listing.by_split().items():
        assert images.keys == [f"{split}-{at:05d}" for at in range(SIZES[split])]
        reader.prefetch(images.keys, images.locations)
        read = map(reader.read, images.keys, images.locations)
        for image, expected in zip(read, draw_pixels()[split], strict=True):
            assert image.dtype == np.uint8
            np.testing.assert_array_equal(image, 255 * expected.reshape(28, 28, 1))


@pytest.mark.parametrize(
    "write",
    [
        lambda path, pixels: np.savetxt(path, pixels),
        lambda path, pixels: np.savetxt(path, pixels, fmt="%.1f", delimiter="\t"),
        lambda path, pixels: np.savetxt(path, pixels, fmt="%d", newline=" \r\n\n"),
        lambda path, pixels: np.savetxt(path, pixels, fmt="%2d"),
    ],
)
def test_numbers_have_many_forms(root, write):
    expected = listed(root)
    write(root / VALID, draw_pixels()["validation"])
    listing = listed(root)
    assert listing.fingerprint == expected.fingerprint
    images = listing.by_split()["validation"]
    read = [*map(listing.reader.read, images.keys, images.locations)]
    np.testing.assert_array_equal(
        np.reshape(read, [-1, 784]), 255 * draw_pixels()["validation"]
    )


def test_the_fingerprint_sees_every_pixel_and_its_split(root):
    base = listed(root).fingerprint
    pixels = draw_pixels()
    pixels["test"][3, 5] ^= 1
    binarize.write_amat(root / TEST, pixels["test"])
    changed = listed(root).fingerprint
    binarize.write_amat(root / TEST, draw_pixels()["test"])
    assert listed(root).fingerprint == base
    # The same lines in the same order, with another end of the split train.
    whole = np.concatenate([*draw_pixels().values()])
    for name, part in zip((TRAIN, VALID, TEST), np.split(whole, [24, 31]), strict=True):
        binarize.write_amat(root / name, part)
    assert len({base, changed, listed(root).fingerprint}) == 3


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda text: b"", "valid.amat has no image: download it again"),
        (lambda text: b" \n\n", "valid.amat has no image: download it again"),
        (lambda text: b"<html>", "valid.amat is an HTML page, not a text file of zero"),
        (
            lambda text: text[:-300],
            r"line 6 of .*_valid.amat has \d+ values: an image has 784; download the",
        ),
        (lambda text: b"\n7\n" + text, "line 2 of .*valid.amat has 1 value: an image"),
        (
            lambda text: text[:1568] + b"2" + text[1569:],
            "line 2 of .*valid.amat has the value '2': pixels must be 0 or 1; downl",
        ),
        (lambda text: b"nan" + text[1:], "the value 'nan': pixels must be 0 or 1"),
        (lambda text: b"0.5" + text[1:], "the value '0.5': pixels must be 0 or 1"),
        (lambda text: b"\xff" + text[1:], r"the value '\\xff': pixels must be 0 or 1"),
        (
            lambda text: text.replace(b"\n", b" "),
            r"line 1 of .* has 4704 values: an im",
        ),
        (
            lambda text: text.replace(b" ", b""),
            r"line 1 of .* has 1 value: an image ha",
        ),
        (
            lambda text: text.replace(b" ", b","),
            r"line 1 of .* has 1 value: an image h",
        ),
        (lambda text: b"x" * 200_000, r"line 1 of .* has 1 value: an image has 784"),
    ],
)
def test_a_malformed_file_is_an_error(root, change, match):
    path = root / VALID
    path.write_bytes(change(path.read_bytes()))
    fails(root, match)


def test_no_input(root, tmp_path):
    allowed = f"give a directory with {TRAIN}, {VALID}, {TEST}"
    fails(tmp_path / "absent", f"input=.*absent does not exist: {allowed}")
    fails(root / TRAIN, f"input=.*{TRAIN} is a file: {allowed}")
    fails(tmp_path, f"input={tmp_path} has no {TRAIN}, {VALID}, {TEST}: {allowed}")
    (root / VALID).unlink()
    fails(root, f"input={root} has no {VALID}: {allowed}")


def test_a_file_that_changes_or_disappears_is_an_error(root):
    listing = listed(root)
    images = listing.by_split()["train"]
    pixels = draw_pixels()["train"]
    pixels[2, 7] ^= 1
    binarize.write_amat(root / TRAIN, pixels)
    read = [*map(listing.reader.read, images.keys[:2], images.locations)]
    assert len(read) == 2
    with pytest.raises(contract.DatasetError, match=f"{TRAIN} changed after it was li"):
        listing.reader.read(images.keys[2], images.locations[2])
    os.truncate(root / TRAIN, 0)
    with pytest.raises(contract.DatasetError, match=f"{TRAIN} changed after it was li"):
        listing.reader.read(images.keys[0], images.locations[0])
    (root / TRAIN).unlink()
    with pytest.raises(contract.DatasetError, match=f"cannot read .*{TRAIN}: No such"):
        listing.reader.read(images.keys[0], images.locations[0])


def test_it_makes_a_dataset_of_black_and_white(root, tmp_path):
    manifest = calls.prepare(
        Settings(source="binarized_mnist", shard_size=8),
        input_dir=str(root),
        output=str(tmp_path / "out"),
    )
    assert manifest.image_shape == (28, 28, 1)
    assert {name: of.num_examples for name, of in manifest.splits.items()} == SIZES
    assert verify.find_faults(str(tmp_path / "out"), manifest) == []
    with pytest.raises(contract.DatasetError, match="does not apply to source=binari"):
        Settings(source="binarized_mnist", split_fractions=(0.8, 0.1, 0.1))


def test_the_substitute_is_drawn_from_the_grey_values():
    grey = np.repeat(np.array([0, 51, 204, 255], np.uint8), 196)
    grey = np.tile(grey.reshape(1, 28, 28, 1), [48, 1, 1, 1])
    drawn = binarize.draw_splits({"train": grey, "test": grey[:5]}, 0)
    assert {split: len(pixels) for split, pixels in drawn.items()} == {
        "train": 40,
        "validation": 8,
        "test": 5,
    }
    share = drawn["train"].reshape(40, 4, 196).mean(axis=(0, 2))
    np.testing.assert_allclose(share, [0, 0.2, 0.8, 1], atol=0.02)
    again = binarize.draw_splits({"train": grey, "test": grey[:5]}, 0)
    other = binarize.draw_splits({"train": grey, "test": grey[:5]}, 1)
    assert all((again[split] == pixels).all() for split, pixels in drawn.items())
    assert not (other["train"] == drawn["train"]).all()
