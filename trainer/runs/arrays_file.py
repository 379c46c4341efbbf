"""Arrays of a checkpoint in one file: safetensors, or the npz of earlier releases.

A safetensors file holds the length of its header, the header as JSON (type, shape and
byte range of each array by name) and the bytes of the arrays. It cannot hold a pickle.
`write` adds nothing that varies: equal arrays in any order give equal files.

The safetensors library reads the files, because it refuses a file whose header and
bytes disagree. The library does not write the files, because it writes the bytes of a
non-contiguous array in memory order, makes a file that only its owner can read, and
raises no `OSError`.
"""

import json
import pathlib
import zipfile
from collections.abc import Mapping

import numpy as np
import safetensors

_NAME, _EARLIER_NAME = "state.safetensors", "state.npz"
# Names of the files that may hold the arrays of a checkpoint.
NAMES = (_NAME, _EARLIER_NAME)
# Safetensors types by NumPy name. Safetensors has further types, such as BF16.
_TYPES = {
    "bool": "BOOL",
    **{f"int{bits}": f"I{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"U{bits}" for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"F{bits}" for bits in (16, 32, 64)},
}


class ArraysError(ValueError):
    """Arrays that cannot be written, or a file that `write` cannot have written."""


def path_in(checkpoint: pathlib.Path) -> pathlib.Path:
    """Returns the path of a checkpoint's arrays; the file need not exist yet."""
    earlier = checkpoint / _EARLIER_NAME
    path = checkpoint / _NAME
    return earlier if earlier.exists() and not path.exists() else path


def write(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a safetensors file without a second copy of all arrays in memory.

    Raises:
        ArraysError: If an array has a type that a checkpoint cannot hold.
        OSError: If the file cannot be written.
    """
    # Wide types come first: every array then begins at a multiple of its item size.
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header, stop = {}, 0
    for name in names:
        array = arrays[name]
        if array.dtype.name not in _TYPES:
            raise ArraysError(
                f"{name} has values of type {array.dtype}, but a checkpoint holds "
                f"only {', '.join(_TYPES)}"
            )
        start, stop = stop, stop + array.nbytes
        header[name] = {
            "dtype": _TYPES[array.dtype.name],
            "shape": array.shape,
            "data_offsets": [start, stop],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            array, little = arrays[name], arrays[name].dtype.newbyteorder("<")
            # An array that is not little-endian in C order is copied, one at a time.
            file.write(np.asarray(array).astype(little, order="C", copy=False).data)


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a file by name; never unpickles anything.

    Raises:
        ArraysError: If neither `write` nor an earlier release can have written the
            file.
        OSError: If the file cannot be read. An npz file may raise any of
            `files.ARCHIVE_ERRORS`.
    """
    return _read_npz(path) if path.name == _EARLIER_NAME else _read(path)


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        # No memory map: it would kill this process if another truncated the file.
        with safetensors.safe_open(path, framework="numpy", backend="pread") as file:
            for name in file.offset_keys():
                kind = file.get_slice(name).get_dtype()
                if kind not in _TYPES.values():
                    raise ArraysError(f"{name} has values of type {kind}")
            return file.get_tensors()
    except safetensors.SafetensorError as error:
        raise ArraysError(str(error)) from error


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        # A compressed array may unpack to any size.
        members = file.zip.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ArraysError("its arrays are compressed")
        arrays = dict(file)
    # NumPy returns plain bytes for a member that lacks the header of an array.
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ArraysError(f"{name} is not an array")
    return arrays
