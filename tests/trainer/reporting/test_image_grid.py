import pathlib

import numpy as np
import pytest
from PIL import Image

from trainer.reporting import image_grid


def test_images_stand_in_rows_and_the_rest_is_black() -> None:
    images = np.stack([np.full([2, 2, 1], v) for v in (-1.0, 0.0, 1.0)])
    grid = image_grid.tile(images, num_columns=2)
    assert grid.dtype == np.uint8
    assert grid[..., 0].tolist() == [
        [0, 0, 128, 128],
        [0, 0, 128, 128],
        [255, 255, 0, 0],
        [255, 255, 0, 0],
    ]


def test_values_outside_the_range_are_clipped() -> None:
    images = np.array([-3.0, 3.0]).reshape(2, 1, 1, 1)
    assert image_grid.tile(images, 2).ravel().tolist() == [0, 255]


def test_images_are_compared_with_what_is_made_of_them() -> None:
    images = np.linspace(-1, 0, 6, dtype=np.float32).reshape(6, 1, 1, 1)
    reconstructions = images + 1
    pairs = image_grid.compare(images, images, reconstructions)
    in_turn = np.stack([images, reconstructions], axis=1).reshape(12, 1, 1, 1)
    np.testing.assert_array_equal(pairs, image_grid.tile(in_turn, 10))
    inputs = -images
    triples = image_grid.compare(images, inputs, reconstructions)
    in_turn = np.stack([images, inputs, reconstructions], axis=1).reshape(18, 1, 1, 1)
    np.testing.assert_array_equal(triples, image_grid.tile(in_turn, 15))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_png_files_hold_the_grid(
    tmp_path: pathlib.Path, channels: int, mode: str
) -> None:
    grid = np.random.default_rng(0).integers(0, 256, (4, 6, channels), np.uint8)
    path = tmp_path / "a/b.png"
    image_grid.save_png(path, grid)
    with Image.open(path) as image:
        assert image.mode == mode
        np.testing.assert_array_equal(np.asarray(image).reshape(grid.shape), grid)
    assert [p.name for p in path.parent.iterdir()] == ["b.png"]


@pytest.mark.parametrize("channels", [1, 3])
def test_many_images_shrink_and_keep_their_looks(channels: int) -> None:
    ramp = np.linspace(0, 255, 128).astype(np.uint8)
    images = np.broadcast_to(ramp[:, None, None], (400, 128, 128, channels))
    actual = image_grid.shrunk(images)
    assert actual.shape == (400, 55, 55, channels)
    # Rows of the shrunken ramp are 255 / 55 levels apart.
    steps = np.diff(actual[7, :, 20, 0].astype(int))
    assert set(steps[2:-2]) <= {4, 5}
    few = images[:76]
    assert image_grid.shrunk(few) is few
    assert image_grid.shrunk(images[:77]).shape[1:3] == (127, 127)
