import gzip
import pathlib

import numpy as np
import pytest

from tests.pipeline.sources.mnist.mnist_files import fails, list_mnist


@pytest.mark.parametrize(
    "name", ["train-images.idx3-ubyte", "train-images.idx3-ubyte.gz"]
)
def test_other_spellings_of_idx_files(digits, tmp_path, name):
    expected = list_mnist(digits.write(tmp_path)).fingerprint
    # A file may be gzipped with or without `.gz` in its name.
    (tmp_path / "train-images-idx3-ubyte").rename(tmp_path / name)
    assert list_mnist(tmp_path).fingerprint == expected


def test_a_missing_idx_file(digits, tmp_path):
    digits.write(tmp_path, "gz")
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    fails(
        tmp_path,
        "has train-images-idx3-ubyte.gz, .* but lacks t10k-labels-idx1-ubyte: put all",
    )


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda data: b"", "train-images-idx3-ubyte is empty: download it again"),
        (lambda data: b"\0\0\x08\x01" + data[4:], "begins with 00000801, but an idx"),
        (lambda data: b"\0\0\x0d\x03" + data[4:], "begins with 00000d03, but an idx"),
        (lambda data: data[:9], "ends in its header, after 9 B"),
        (
            lambda data: data[:-1],
            "announces 25 x 28 x 28 values, but has 19599: it was",
        ),
        (lambda data: data + b"\0", "announces 25 x 28 x 28 values, but has 19601"),
        (lambda data: gzip.compress(data)[:-9], "cannot read .* ended before"),
        (lambda data: gzip.compress(data)[:-1] + b"!", "cannot read .*; download it"),
        (lambda data: b"\x1f\x8bx" + data, "cannot read .*; download it again"),
        (lambda data: b"\n<!DOCTYPE html><html>", "is an HTML page of 22 B, not an id"),
    ],
)
def test_a_damaged_idx_file(digits, tmp_path, change, match):
    path = digits.write(tmp_path) / "train-images-idx3-ubyte"
    path.write_bytes(change(path.read_bytes()))
    fails(tmp_path, match)


def test_an_idx_file_that_cannot_be_read(digits, tmp_path, monkeypatch):
    def fail(_):
        raise OSError(5, "Input/output error")

    digits.write(tmp_path)
    monkeypatch.setattr(pathlib.Path, "read_bytes", fail)
    fails(tmp_path, "cannot use .*train-images-idx3-ubyte: Input/output error")


def test_idx_files_that_do_not_belong_together(digits, tmp_path):
    digits.labels["train"] = digits.labels["train"][1:]
    fails(
        digits.write(tmp_path / "a"),
        "ubyte has 25 images, but .*labels-idx1-ubyte has 24 labels: they belong",
    )
    digits.pixels["train"] = digits.pixels["train"][:24, :, :20]
    fails(digits.write(tmp_path / "b"), r"has the shape \[24, 28, 20\]: images must be")
    digits.pixels["train"] = np.zeros((0, 28, 28))
    digits.labels["train"] = np.zeros(0)
    fails(digits.write(tmp_path / "c"), "train-images-idx3-ubyte has no image")
