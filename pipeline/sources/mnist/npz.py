"""Reads MNIST as Keras distributes it: one npz of four arrays."""

import io
import math
import zipfile

import numpy as np

from pipeline import contract
from pipeline.images import file_types
from pipeline.process import wording
from pipeline.sources.mnist import arrays
from pipeline.storage import files, paths

FILE_NAME = "mnist.npz"

# Header readers by version of the npy format.
_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_ARRAY_NAMES = {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")}


def load(path: str) -> dict[str, arrays.LabelledImages]:
    """Returns the images and labels of each split.

    Args:
        path: Path of the npz.

    Raises:
        DatasetError: If the file cannot be read, is not an npz, or lacks an array, or
            an array is malformed.
    """
    _check_is_zip(path)
    names = [name for pair in _ARRAY_NAMES.values() for name in pair]
    try:
        with paths.open_file(path) as file, zipfile.ZipFile(file) as archive:
            present = [name.removesuffix(".npy") for name in archive.namelist()]
            values = {
                name: _read_array(archive, f"{name}.npy")
                for name in names
                if name in present
            }
    except contract.DatasetError:
        raise
    except files.ARCHIVE_ERRORS as error:
        raise contract.DatasetError(
            f"cannot read {path}: {wording.cause(error)}; download it again"
        ) from error
    missing = [name for name in names if name not in present]
    if missing:
        raise contract.DatasetError(
            f"{path} has the arrays {', '.join(present) or 'none'}, but lacks "
            f"{', '.join(missing)}: give another `input`"
        )
    return {
        split: arrays.labelled_images(
            values[images], values[labels], f"{images} of {path}", f"{labels} of {path}"
        )
        for split, (images, labels) in _ARRAY_NAMES.items()
    }


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    # zipfile compares the checksum only at the end of a member. Read the whole member
    # before NumPy parses it, because NumPy cannot make sense of damaged bytes.
    with archive.open(name) as member:
        content = arrays.read_whole(member)
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    shape, _, dtype = _READ_HEADER[version](file)
    num_bytes = math.prod(shape) * dtype.itemsize
    # Check the size first: NumPy allocates the memory that the header announces.
    if num_bytes != len(content) - file.tell() and not dtype.hasobject:
        raise ValueError(f"{name} announces {num_bytes} B, but has {len(content)} B")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _check_is_zip(path: str) -> None:
    try:
        head = paths.read_range(path, 0, 1024)
    except OSError as error:
        raise contract.DatasetError(
            f"cannot read {path}: {wording.cause(error)}"
        ) from error
    if not head:
        raise contract.DatasetError(f"{path} is empty: give another `input`")
    if file_types.is_html(head):
        raise contract.DatasetError(
            f"{path} is an HTML page, not an npz: download it again, by hand in a "
            "browser"
        )
    if not head.startswith(b"PK"):
        raise contract.DatasetError(
            f"{path} begins with {wording.shown(head[:4])}, and is neither an npz nor "
            "named like an idx file: give another `input`"
        )
