"""Writes a substitute for the files of statically binarised MNIST.

    python -m benchmarks.binarize --input=MNIST_DIR --output=DIR

Draws every pixel of MNIST once, with its grey value as the probability of white, and
writes the three text files that `--source=binarized_mnist` reads. Larochelle's files
were made in this way, by draws that nobody can repeat. So the images have the same
distribution, but are not the same. The last sixth of the training images, 10,000 of
60,000, is the split validation.
"""

import argparse
import pathlib

import numpy as np

from pipeline.sources.mnist import binarized, mnist


def draw_splits(grey: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Returns the drawn pixels of train, validation and test, `[n, 784]` of 0 or 1.

    Args:
        grey: Pixels of train and test, `[n, 28, 28, 1]` uint8.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    drawn = {
        split: (rng.random(pixels.shape) < pixels / 255).reshape(len(pixels), -1)
        for split, pixels in grey.items()
    }
    train, validation = np.split(drawn["train"], [len(drawn["train"]) * 5 // 6])
    return {"train": train, "validation": validation, "test": drawn["test"]}


def write_amat(path: pathlib.Path, pixels: np.ndarray) -> None:
    """Writes a line of zeros and ones for each image.

    Args:
        path: Path of the file.
        pixels: `[n, 784]` of 0 or 1.
    """
    characters = np.full([len(pixels), 2 * pixels.shape[1]], ord(" "), np.uint8)
    characters[:, ::2] = pixels + np.uint8(ord("0"))
    characters[:, -1] = ord("\n")
    path.write_bytes(characters.tobytes())


def main() -> None:
    """Draws and writes."""
    # Tests import this file beside commands that define flags of the same names.
    parser = argparse.ArgumentParser(description="Draws statically binarised MNIST.")
    parser.add_argument("--input", required=True, help="Directory of MNIST.")
    parser.add_argument("--output", required=True, help="Directory of the files.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the draws.")
    options = parser.parse_args()
    grey = {split: images.pixels for split, images in mnist.load(options.input).items()}
    folder = pathlib.Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    for split, pixels in draw_splits(grey, options.seed).items():
        write_amat(folder / binarized.FILE_NAMES[split], pixels)


if __name__ == "__main__":
    main()
