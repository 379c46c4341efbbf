"""Makes checkpoints of arbitrary bytes, and checkpoints of earlier releases."""

import hashlib
import io
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from trainer.runs import checkpoints


def seal(path: pathlib.Path, name: str, data: bytes, **meta: Any) -> pathlib.Path:
    """Writes a checkpoint of arbitrary bytes, with the matching size and hash.

    Args:
        path: Path of the checkpoint.
        name: Name of the file of arrays.
        data: Content of the file of arrays.
        **meta: Other entries of the checkpoint's metadata.

    Returns:
        `path`.
    """
    path.mkdir(exist_ok=True)
    (path / name).write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    step = checkpoints.step_of(path)
    sealed = {"step": step, "num_bytes": len(data), "sha256": sha256, **meta}
    (path / checkpoints.META_NAME).write_text(json.dumps(sealed))
    return path


def npz(
    arrays: Mapping[str, np.ndarray], save: Callable[..., None] = np.savez
) -> bytes:
    """Returns arrays in the npz format of earlier releases' checkpoints."""
    save(file := io.BytesIO(), **arrays)
    return file.getvalue()


def safetensors(header: Any, body: bytes, num_bytes: int | None = None) -> bytes:
    """Returns a file in the safetensors format, valid or not.

    Args:
        header: Header as bytes, or as a value to convert to JSON.
        body: Bytes after the header.
        num_bytes: Size of the header that the file states; None for the true size.
    """
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    num_bytes = len(text) if num_bytes is None else num_bytes
    return num_bytes.to_bytes(8, "little") + text + body
