"""Checkpoints of any bytes, and those of earlier releases."""

import hashlib
import io
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from trainer.runs import checkpoints


def seal(path: pathlib.Path, name: str, data: bytes, **meta: Any) -> pathlib.Path:
    """Makes a checkpoint of any bytes, with their right size and hash.

    Args:
        path: Of the checkpoint.
        name: Of the file of arrays.
        data: Its bytes.
        **meta: What else the checkpoint says of itself.

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
    """Returns the arrays of a checkpoint as earlier releases wrote them."""
    save(file := io.BytesIO(), **arrays)
    return file.getvalue()


def safetensors(header: Any, body: bytes, num_bytes: int | None = None) -> bytes:
    """Returns a file as safetensors has it, sound or not.

    Args:
        header: Its bytes, or what is made JSON.
        body: What is after the header.
        num_bytes: What the file says of the size of its header; None for the truth.
    """
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    num_bytes = len(text) if num_bytes is None else num_bytes
    return num_bytes.to_bytes(8, "little") + text + body
