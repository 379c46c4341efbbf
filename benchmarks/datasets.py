"""Small datasets for the trainer's benchmarks, unless flags name other datasets."""

import os
import subprocess
import sys

import numpy as np
from absl import flags

_FACES = flags.DEFINE_string("faces", None, "Dataset of 128 px; else faces are drawn.")
_DIGITS = flags.DEFINE_string("digits", None, "Dataset of 28 px; else noise is made.")
_NUM_IMAGES = 1000


def faces(work: str) -> str:
    """Returns a dataset of 128 px faces, drawn in `work` unless --faces is given."""
    if _FACES.value:
        return _FACES.value
    raw, output = os.path.join(work, "raw_faces"), os.path.join(work, "faces")
    _run("pipeline.synthesize", f"--output={raw}", f"--num_images={_NUM_IMAGES}")
    _run("pipeline.prepare", f"--input={raw}", f"--output={output}", "--shard_size=64")
    return output


def digits(work: str) -> str:
    """Returns a dataset of 28 px digits; noise in `work` unless --digits is given."""
    if _DIGITS.value:
        return _DIGITS.value
    raw, output = os.path.join(work, "raw_digits"), os.path.join(work, "digits")
    os.makedirs(raw)
    images = np.random.default_rng(0).integers(0, 256, (_NUM_IMAGES, 28, 28), np.uint8)
    labels = np.arange(_NUM_IMAGES, dtype=np.uint8) % 10
    splits = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    np.savez(os.path.join(raw, "mnist.npz"), **splits)
    prepare = ["--source=mnist", f"--input={raw}", f"--output={output}"]
    _run("pipeline.prepare", *prepare, "--shard_size=64")
    return output


def _run(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)
