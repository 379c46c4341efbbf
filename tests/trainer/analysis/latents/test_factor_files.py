"""Factors of synthetic faces, as their file has them."""

import pathlib

import numpy as np
import pytest

from trainer.analysis.latents import factors

TABLE = """\
image,same,pose,hair,glasses,beard,age
a.jpg,4,0.5,red,0,1,1
b.jpg,4,-1.5,blue,1,0,2
c.jpg,4,2.25,red,1,0,1
d.jpg,4,7,green,0,1,3
"""


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    (tmp_path / "factors.csv").write_text(TABLE)
    return str(tmp_path / "factors.csv")


def test_factors_are_numbers_or_categories(path: str) -> None:
    actual = factors.load(path, ["d.jpg", "a.jpg", "b.jpg"])
    # The column that never changes is left out; hair is green, red and blue.
    assert actual.values.T.tolist() == [
        [7, 0.5, -1.5],
        [1, 2, 0],
        [0, 0, 1],
        [1, 1, 0],
        [3, 1, 2],
    ]
    assert actual.values.dtype == np.float64
    # Zeros and ones name two categories, and other numbers have an order.
    assert actual.are_categorical.tolist() == [False, True, True, True, False]


def test_two_images_vary_where_they_differ(path: str) -> None:
    actual = factors.load(path, ["a.jpg", "c.jpg"])
    assert actual.values.T.tolist() == [[0.5, 2.25], [0, 1], [1, 0]]
    assert actual.are_categorical.tolist() == [False, True, True]


def test_an_image_alone_does_not_vary(path: str) -> None:
    with pytest.raises(ValueError, match="no factor varies in the split, which has 1"):
        factors.load(path, ["a.jpg"])
    with pytest.raises(ValueError, match="has no row or column for 'e.jpg'"):
        factors.load(path, ["a.jpg", "e.jpg"])


def test_what_is_no_table_is_named(tmp_path: pathlib.Path) -> None:
    for content in (b"\xff\xfe\x00", b'image,x\n"' + b"a" * 200_000):
        (tmp_path / "other.csv").write_bytes(content)
        with pytest.raises(ValueError, match="^factors=.*other.csv cannot be read"):
            factors.load(str(tmp_path / "other.csv"), ["a.jpg"])
