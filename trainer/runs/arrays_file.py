"""The arrays of a checkpoint in one file: safetensors, or the npz of earlier releases.

A safetensors file is the length of its header, the header as JSON (type, shape and
place of each array by its name) and the arrays' bytes, so no pickle can be in it. Ours
holds nothing that varies: equal arrays are equal files, whatever their order.

The library reads it: it refuses a file whose header and bytes disagree. It does not
write it: of an array that is not contiguous it writes the bytes in another order, it
makes a file that its owner alone may read, and it raises no `OSError`.
"""

import json
import pathlib
import zipfile
from collections.abc import Mapping

import numpy as np
import safetensors

_NAME, _EARLIER_NAME = "state.safetensors", "state.npz"
# Wherever the arrays of a checkpoint may be.
NAMES = (_NAME, _EARLIER_NAME)
# By NumPy's names. The library knows more, which NumPy does not.
_TYPES = {
    "bool": "BOOL",
    **{f"int{bits}": f"I{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"U{bits}" for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"F{bits}" for bits in (16, 32, 64)},
}


class ArraysError(ValueError):
    """Arrays that cannot be written, or a file that is not what `write` writes."""


def path_in(checkpoint: pathlib.Path) -> pathlib.Path:
    """Returns where the arrays of a checkpoint are, or should be."""
    earlier = checkpoint / _EARLIER_NAME
    path = checkpoint / _NAME
    return earlier if earlier.exists() and not path.exists() else path


def write(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a safetensors file, of which no second copy is in memory.

    Raises:
        ArraysError: If a type is none of safetensors'.
        OSError: If it cannot be written.
    """
    # Those of wide types come first, so that each begins at a multiple of its width.
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header, stop = {}, 0
    for name in names:
        array = arrays[name]
        if array.dtype.name not in _TYPES:
            raise ArraysError(
                f"{name} has values of type {array.dtype}, which no checkpoint holds: "
                f"{', '.join(_TYPES)}"
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
            # What is not as in the file is copied, one array at a time.
            file.write(np.asarray(array).astype(little, order="C", copy=False).data)


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a file, by name; nothing is unpickled.

    Raises:
        ArraysError: If the file is not what `write`, or an earlier release, writes.
        OSError: If it cannot be read; `files.ARCHIVE_ERRORS` for an npz.
    """
    return _read_npz(path) if path.name == _EARLIER_NAME else _read(path)


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        # Not mapped to memory, where a file that is cut meanwhile ends the process.
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
        # What is compressed may unpack to any size.
        members = file.zip.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ArraysError("its arrays are compressed")
        arrays = dict(file)
    # NumPy gives the bytes of what does not begin like an array.
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ArraysError(f"{name} is no array")
    return arrays
