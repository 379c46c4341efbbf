"""MNIST and datasets of the same form: Fashion-MNIST, KMNIST.

The content of `input` decides which module reads it:

    idx.py             a directory of the four idx files, gzipped or not, or such a file
    npz.py             mnist.npz as Keras distributes it, or its directory
    tfds_records.py    a directory that TensorFlow Datasets prepared

The files have the splits train and test. The first images of train become the split
validation. A key consists of the file's split and the image's number in it, so an image
has the same key whatever the number of validation images. The same images in the same
order make the same dataset, whichever form they come in.
"""

import functools
import hashlib
import itertools
import os
import threading
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging

from pipeline import contract
from pipeline.sources import Listing
from pipeline.sources.image_table import ImageTable
from pipeline.sources.mnist import arrays, idx, npz
from pipeline.storage import contents, path_resolution, paths

# Validation images of a training file with at least `_FULL_TRAIN` images; a smaller
# file gives the same fraction.
_VALIDATION_IMAGES, _FULL_TRAIN = 5000, 60_000
_TFDS_INFO_NAME = "dataset_info.json"
_NUM_NAMED = 5
# Entries to list for the error message, if a directory has no form of MNIST.
_NUM_LISTED = 1000
_LOADING = threading.Lock()


class ArrayReader:
    """Reads an image by (number of the split, place in the split, CRC-32).

    The first read loads all images, once in each process.
    """

    def __init__(self, path: str, fingerprint: str) -> None:
        """Loads nothing yet: workers get only the path and the fingerprint."""
        self._path = path
        self._fingerprint = fingerprint

    def prefetch(self, keys: Sequence[str], locations: np.ndarray) -> None:
        """Does nothing: the first `read` loads all images."""

    def read(self, key: str, location: np.ndarray) -> np.ndarray:
        """Returns `[28, 28, 1]` uint8; see `Reader.read`."""
        number, place, _ = location.tolist()
        # Without the lock, every thread would load its own copy.
        with _LOADING:
            splits = _load_listed(self._path, self._fingerprint)
        return splits[contract.SPLITS[number]].pixels[place]


def list_images(input_dir: str, validation_images: int | None = None) -> Listing:
    """Returns the images of MNIST, with their labels.

    Args:
        input_dir: A directory or file, local or in a bucket.
        validation_images: Number of leading training images that become the split
            validation; None for 5,000, or a twelfth of a file with fewer than 60,000.

    Raises:
        DatasetError: If there is no form of MNIST, a file is missing or damaged, or no
            training image would remain.
    """
    splits = load(input_dir)
    fingerprint = _fingerprint(splits)
    train, test = (_listed(split, images) for split, images in splits.items())
    if validation_images is None:
        validation_images = _default_validation_images(len(train))
    if validation_images >= len(train):
        raise contract.DatasetError(
            f"validation_images={validation_images} must be less than {len(train)}, "
            f"the number of training images in input={input_dir}"
        )
    parts = [
        ("train", train.part(validation_images, len(train))),
        ("validation", train.part(0, validation_images)),
        ("test", test),
    ]
    parts = [(split, images) for split, images in parts if len(images)]
    logging.info(
        "images in %s: %s",
        input_dir,
        ", ".join(f"{split} {len(images)}" for split, images in parts),
    )
    return Listing(
        name="mnist",
        parts=parts,
        features={"label": contract.Feature(dtype="int64")},
        fingerprint=fingerprint,
        reader=ArrayReader(path_resolution.resolve(input_dir), fingerprint),
        num_channels=1,
        validation_images=validation_images or None,
    )


def load(path: str) -> dict[str, arrays.LabelledImages]:
    """Returns the images of the splits train and test, from any form of MNIST.

    Raises:
        DatasetError: If there is no form of MNIST, or a file is missing or damaged.
    """
    if not paths.is_directory(path):
        if paths.find(path) is None:
            raise contract.DatasetError(f"input={path} does not exist: {_allowed()}")
        folder, name = os.path.split(path)
        idx_paths = idx.find_files(folder or ".").values()
        is_idx = name in map(os.path.basename, idx_paths)
        return idx.load(folder or ".") if is_idx else npz.load(path)
    if idx.find_files(path):
        return idx.load(path)
    npz_path = paths.join(path, npz.FILE_NAME)
    if paths.find(npz_path):
        return npz.load(npz_path)
    if paths.find(paths.join(path, _TFDS_INFO_NAME)):
        # Imported lazily: the import takes a third of a second.
        from pipeline.sources.mnist import tfds_records

        return tfds_records.load(path)
    entries = itertools.islice(paths.list_directory(path), _NUM_LISTED)
    names = sorted(entry.name for entry in entries)
    if not names:
        raise contract.DatasetError(f"input={path} is empty: {_allowed()}")
    more = ", ..." if len(names) > _NUM_NAMED else ""
    raise contract.DatasetError(
        f"input={path} has no usable file of MNIST, only "
        f"{', '.join(names[:_NUM_NAMED])}{more}: "
        f"{contents.other_source(path, 'mnist')}{_allowed()}"
    )


def _default_validation_images(num_train: int) -> int:
    """Returns the number of validation images if no flag gives one.

    Example:
        >>> [_default_validation_images(num) for num in (240_000, 60_000, 40, 11)]
        [5000, 5000, 3, 0]
    """
    return _VALIDATION_IMAGES * min(num_train, _FULL_TRAIN) // _FULL_TRAIN


def _allowed() -> str:
    return (
        f"give a directory with {', '.join(idx.FILE_NAMES)} (each may end in .gz), a "
        f"directory with {npz.FILE_NAME}, that file itself, or a directory that "
        f"TensorFlow Datasets prepared (with {_TFDS_INFO_NAME})"
    )


def _listed(split: str, images: arrays.LabelledImages) -> ImageTable:
    number, num_images = contract.SPLITS.index(split), len(images.labels)
    # All numbers get the same number of digits, so the keys sort in numeric order.
    num_digits = max(5, len(str(num_images - 1)))
    return ImageTable(
        keys=[f"{split}-{place:0{num_digits}d}" for place in range(num_images)],
        locations=np.array(
            [
                (number, place, zlib.crc32(pixels))
                for place, pixels in enumerate(images.pixels)
            ],
            np.int64,
        ),
        features={"label": images.labels},
    )


def _fingerprint(splits: Mapping[str, arrays.LabelledImages]) -> str:
    """Returns a hash of the pixels and labels, which is the same for all forms."""
    sha256 = hashlib.sha256()
    for split, images in splits.items():
        sha256.update(f"{split} {len(images.labels)}\n".encode())
        sha256.update(images.pixels.tobytes())
        sha256.update(images.labels.astype("<i8").tobytes())
    return sha256.hexdigest()


@functools.lru_cache(maxsize=1)
def _load_listed(path: str, fingerprint: str) -> Mapping[str, arrays.LabelledImages]:
    splits = load(path)
    if _fingerprint(splits) != fingerprint:
        raise contract.DatasetError(
            f"input={path} changed while it was read: make the same call again"
        )
    return splits
