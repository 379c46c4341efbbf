"""Arranges images in grids, and reads and writes picture files."""

import math
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from pipeline.storage import files
from trainer.system import atomic_files

_FRAME_MILLISECONDS = 80
_COMPARED_IN_A_ROW = 5
# A picture of photographs with this many pixels has less than 2 MB.
_MOST_PIXELS = 1_250_000
# Half the time of Pillow's default, 6, for files that are half a percent larger.
_PNG_LEVEL = 4


def tile(images: np.ndarray, num_columns: int) -> np.ndarray:
    """Lays images out in rows.

    Args:
        images: `[n, height, width, channels]` in [-1, 1]; values outside are clipped.
        num_columns: Images per row; black fills up the last row.

    Returns:
        `[rows * height, num_columns * width, channels]` uint8.

    Example:
        >>> tile(np.zeros([3, 2, 2, 1]), num_columns=2).shape
        (4, 4, 1)
    """
    return tile_levels(to_levels(images), num_columns)


def to_levels(images: np.ndarray) -> np.ndarray:
    """Returns images in [-1, 1] as uint8; values outside are clipped."""
    return np.round((np.clip(images, -1.0, 1.0) + 1) * 127.5).astype(np.uint8)


def shrunk(levels: np.ndarray) -> np.ndarray:
    """Returns images that have at most 1.25 million pixels together.

    Args:
        levels: `[n, height, width, 1 or 3]` uint8.

    Returns:
        The same images, smaller if need be.

    Example:
        >>> shrunk(np.zeros([500, 100, 100, 3], np.uint8)).shape
        (500, 50, 50, 3)
    """
    num, height, width, channels = levels.shape
    scale = math.sqrt(_MOST_PIXELS / (num * height * width))
    if scale >= 1:
        return levels
    size = max(1, int(width * scale)), max(1, int(height * scale))
    images = [_image(image).resize(size, Image.Resampling.LANCZOS) for image in levels]
    return np.stack([np.asarray(image) for image in images]).reshape(
        num, size[1], size[0], channels
    )


def tile_levels(levels: np.ndarray, num_columns: int) -> np.ndarray:
    """Lays out the uint8 images of `to_levels` in rows; see `tile`."""
    num_images, height, width, channels = levels.shape
    num_rows = -(-num_images // num_columns)
    cells = np.zeros([num_rows * num_columns, height, width, channels], np.uint8)
    cells[:num_images] = levels
    rows = cells.reshape(num_rows, num_columns, height, width, channels)
    return rows.swapaxes(1, 2).reshape(num_rows * height, num_columns * width, channels)


def compare(
    images: np.ndarray, inputs: np.ndarray, reconstructions: np.ndarray
) -> np.ndarray:
    """Lays out images, each followed by its reconstruction, up to five per row.

    Args:
        images: `[n, height, width, channels]` in [-1, 1].
        inputs: Same shape; encoder inputs of the reconstructions. If they differ from
            the images, each input stands between its image and its reconstruction.
        reconstructions: Same shape.

    Returns:
        A grid as from `tile`.
    """
    columns = [images, reconstructions]
    if not np.array_equal(images, inputs):
        columns.insert(1, inputs)
    in_turn = np.stack(columns, axis=1).reshape(-1, *images.shape[1:])
    return tile(in_turn, len(columns) * min(len(images), _COMPARED_IN_A_ROW))


def save_png(path: pathlib.Path, grid: np.ndarray) -> None:
    """Writes `[height, width, 1 or 3]` uint8 as a PNG file, atomically."""
    files.make_directory(path.parent)
    with atomic_files.replacing(path) as temporary:
        _image(grid).save(temporary, format="PNG", compress_level=_PNG_LEVEL)


def save_gif(path: pathlib.Path, frames: Sequence[np.ndarray]) -> None:
    """Writes grids atomically as an endless GIF that plays forwards and backwards.

    Args:
        path: Path of the GIF file.
        frames: Grids, each `[height, width, 1 or 3]` uint8.
    """
    files.make_directory(path.parent)
    first, *others = [_image(frame) for frame in [*frames, *frames[-2:0:-1]]]
    with atomic_files.replacing(path) as temporary:
        first.save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=others,
            duration=_FRAME_MILLISECONDS,
            loop=0,
        )


def load_png(path: pathlib.Path) -> np.ndarray:
    """Reads a picture that `save_png` wrote: `[height, width, 1 or 3]` uint8."""
    with Image.open(path) as image:
        pixels = np.asarray(image)
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def _image(grid: np.ndarray) -> Image.Image:
    return Image.fromarray(grid[..., 0] if grid.shape[-1] == 1 else grid)
