"""The text files of statically binarised MNIST, with a few random images."""

import pathlib

import numpy as np

from benchmarks import binarize
from pipeline.sources.mnist import binarized

SIZES = {"train": 25, "validation": 6, "test": 9}
TRAIN, VALID, TEST = binarized.FILE_NAMES.values()


def draw_pixels() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        split: rng.integers(0, 2, (num, 784), np.uint8) for split, num in SIZES.items()
    }


def write_files(root: pathlib.Path) -> pathlib.Path:
    root.mkdir(exist_ok=True)
    for split, pixels in draw_pixels().items():
        binarize.write_amat(root / binarized.FILE_NAMES[split], pixels)
    return root
