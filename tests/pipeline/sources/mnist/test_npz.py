import zipfile

import numpy as np
import pytest

from tests.pipeline.sources.mnist.mnist_files import fails, list_mnist, write_npz


@pytest.mark.parametrize(
    "change",
    [
        lambda pixels: pixels[..., None],
        lambda pixels: pixels.reshape(-1, 784),
        lambda pixels: pixels / 255,
        lambda pixels: (pixels / 255).astype(np.float32),
        lambda pixels: (pixels / 255).astype(np.float16).reshape(-1, 784),
    ],
)
def test_an_npz_of_another_shape_or_type(digits, tmp_path, change):
    expected = list_mnist(digits.write(tmp_path, "npz")).fingerprint
    digits.pixels = {split: change(values) for split, values in digits.pixels.items()}
    digits.labels = {split: v.astype(np.uint8) for split, v in digits.labels.items()}
    assert list_mnist(digits.write(tmp_path, "npz")).fingerprint == expected


def test_an_npz_may_have_other_arrays_too(digits, tmp_path):
    write_npz(tmp_path / "mnist.npz", **digits.arrays(), extra=np.zeros(3))
    assert list(list_mnist(tmp_path).by_split()) == ["train", "validation", "test"]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"x_train": np.zeros((25, 32, 32), np.uint8)}, r"shape \[25, 32, 32\]: image"),
        (
            {"x_test": np.zeros(9, np.uint8)},
            r"x_test of .* has the shape \[9\]: images",
        ),
        ({"x_test": np.zeros((), np.uint8)}, r"has the shape \[\]: images must be"),
        ({"x_train": np.zeros((25, 784), np.int64)}, "is of type int64: pixels must"),
        ({"x_train": np.full((25, 784), 255.0)}, "from 255 to 255: pixels must be"),
        ({"x_train": np.full((25, 784), -0.1)}, "from -0.1 to -0.1: pixels must be"),
        ({"x_train": np.full((25, 784), np.nan)}, "values from nan to nan: pixels"),
        ({"y_train": np.eye(25)}, r"y_train of .* the shape \[25, 25\]: labels must"),
        ({"y_train": np.zeros(24, int)}, "has 25 images, but y_train .* has 24 labels"),
        ({"y_train": np.zeros(25)}, "is of type float64: labels must be integers"),
        ({"y_train": np.full(25, 256)}, "values from 256 to 256: labels must be from"),
        ({"y_train": np.full(25, -1)}, "values from -1 to -1: labels must be from 0"),
        ({"y_test": np.full(9, None)}, "cannot read .*Object arrays"),
    ],
)
def test_an_npz_of_other_arrays(digits, tmp_path, changes, match):
    write_npz(tmp_path / "mnist.npz", **{**digits.arrays(), **changes})
    fails(tmp_path, match)


def test_an_npz_that_lacks_arrays(tmp_path):
    write_npz(tmp_path / "mnist.npz", x_train=np.zeros(1), images=np.zeros(1))
    fails(tmp_path, "has the arrays x_train, images, but lacks y_train, x_test, y_test")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda data: data[:4000], "cannot read .*mnist.npz: .*; download it again"),
        (lambda data: data[:100] + b"!" * 9 + data[109:], "cannot read .*mnist.npz: "),
        (lambda data: b"<html>", "is an HTML page, not an npz"),
        (lambda data: b"\x93NUMPY" + data, "begins with .*x93NUM', and is neither"),
    ],
)
def test_a_damaged_npz(digits, tmp_path, change, match):
    path = digits.write(tmp_path, "npz") / "mnist.npz"
    path.write_bytes(change(path.read_bytes()))
    fails(tmp_path, match)


def test_an_npz_of_no_arrays(digits, tmp_path):
    path = digits.write(tmp_path, "npz") / "mnist.npz"
    content = path.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        for name in digits.arrays():
            archive.writestr(f"{name}.npy", b"no array")
    fails(tmp_path, "cannot read .*magic string is not correct")
    # Mark the first member as encrypted, in its header and in the zip's directory.
    for head, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(head) + place
        content = content[:at] + b"\1" + content[at + 1 :]
    path.write_bytes(content)
    fails(tmp_path, "cannot read .*is encrypted, password required")


def test_an_npz_that_cannot_be_read(digits, tmp_path):
    (tmp_path / "mnist.npz").mkdir()
    fails(
        tmp_path, "has no usable file of MNIST, only mnist.npz: give a directory with"
    )
