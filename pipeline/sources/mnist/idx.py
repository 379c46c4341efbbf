"""Reads the four idx files of MNIST and its successors.

    DIR/train-images-idx3-ubyte    DIR/train-labels-idx1-ubyte    the split train
    DIR/t10k-images-idx3-ubyte     DIR/t10k-labels-idx1-ubyte     the split test

A file may be gzipped, with or without `.gz` in its name, and `-idx` may be `.idx`.

Source:
    LeCun, Cortes and Burges, "The MNIST database of handwritten digits": two zero
    bytes, the type of the values, the number of dimensions, the size of each as a
    big-endian 32-bit integer, and the values in row-major order.
"""

import gzip
import io
import math
import os
import struct

import numpy as np

from pipeline import contract
from pipeline.images import file_types
from pipeline.process import wording
from pipeline.sources.mnist import arrays
from pipeline.storage import files, paths

_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
FILE_NAMES = (*_FILES["train"], *_FILES["test"])

_NUM_DIMENSIONS = {"images": 3, "labels": 1}
_UBYTE = 8
_GZIP_MAGIC = b"\x1f\x8b"


def load(root: str) -> dict[str, arrays.LabelledImages]:
    """Returns the images and labels of each split.

    Args:
        root: Directory of the four files.

    Raises:
        DatasetError: If a file is missing or malformed.
    """
    file_paths = find_files(root)
    missing = [name for name in FILE_NAMES if name not in file_paths]
    if missing:
        present = ", ".join(map(os.path.basename, file_paths.values())) or "no idx file"
        raise contract.DatasetError(
            f"input={root} has {present}, but lacks {', '.join(missing)}: put all "
            "four files there, gzipped or not"
        )
    splits = {}
    for split, (images_name, labels_name) in _FILES.items():
        images_path, labels_path = file_paths[images_name], file_paths[labels_name]
        splits[split] = arrays.labelled_images(
            read_idx(images_path, "images"),
            read_idx(labels_path, "labels"),
            images_path,
            labels_path,
        )
    return splits


def find_files(root: str) -> dict[str, str]:
    """Returns the paths of the idx files in a directory, by their official names."""
    path_of = {}
    for name in FILE_NAMES:
        spellings = (name, name.replace("-idx", ".idx"))
        candidates = [
            paths.join(root, f"{spelling}{end}")
            for spelling in spellings
            for end in ("", ".gz")
        ]
        existing = next(filter(paths.find, candidates), None)
        if existing is not None:
            path_of[name] = existing
    return path_of


def read_idx(path: str, content: str) -> np.ndarray:
    """Returns the values of an idx file.

    Args:
        path: Path of the file, gzipped or not.
        content: Expected content, `images` or `labels`.

    Returns:
        `[num_images, height, width]` or `[num_images]` uint8.

    Raises:
        DatasetError: If the file cannot be read, is cut off, or has another format.
    """
    data = _read(path)
    if not data:
        raise contract.DatasetError(f"{path} is empty: download it again")
    if file_types.is_html(data[:1024]):
        raise contract.DatasetError(
            f"{path} is an HTML page of {len(data):,} B, not an idx file: download it "
            "again, by hand in a browser"
        )
    num_dimensions = _NUM_DIMENSIONS[content]
    magic = bytes([0, 0, _UBYTE, num_dimensions])
    start = len(magic) + 4 * num_dimensions
    if data[: len(magic)] != magic:
        raise contract.DatasetError(
            f"{path} begins with {data[:4].hex()}, but an idx file of {content} begins "
            f"with {magic.hex()}: download it again"
        )
    if len(data) < start:
        raise contract.DatasetError(
            f"{path} ends in its header, after {len(data)} B: download it again"
        )
    shape: tuple[int, ...] = struct.unpack_from(f">{num_dimensions}I", data, len(magic))
    if math.prod(shape) != len(data) - start:
        raise contract.DatasetError(
            f"{path} announces {' x '.join(map(str, shape))} values, but has "
            f"{len(data) - start}: it was cut off or damaged; download it again"
        )
    if 0 in shape:
        raise contract.DatasetError(f"{path} has no {content}: give another `input`")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _read(path: str) -> bytes:
    try:
        data = paths.read_bytes(path)
        # A browser may unpack the file but keep the name with `.gz`.
        if not data.startswith(_GZIP_MAGIC):
            return data
        with gzip.open(io.BytesIO(data)) as file:
            return arrays.read_whole(file)
    except contract.DatasetError:
        raise
    except files.ARCHIVE_ERRORS as error:
        raise contract.DatasetError(
            f"cannot read {path}: {wording.cause(error)}; download it again"
        ) from error
