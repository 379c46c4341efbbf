"""Checkpoints: written whole or not at all, and checked before they are believed.

A checkpoint is a directory `step-000001000` with `state.npz` (arrays by name) and
`checkpoint.json` (step, dataset digest, ledger, and the size and sha256 of the
arrays). It is written under a temporary name and renamed. Loading uses no pickle.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging

_ARRAYS_NAME = "state.npz"
META_NAME = "checkpoint.json"

# What zipfile and NumPy raise on an npz that is damaged, is encrypted, has pickles, or
# asks for more memory than there is.
NPZ_ERRORS = (
    OSError,
    EOFError,
    LookupError,
    ArithmeticError,
    ValueError,
    TypeError,
    SyntaxError,
    RuntimeError,
    MemoryError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the text is for the user."""

    def __str__(self) -> str:
        """Returns one line, even if it quotes what a file has over several."""
        return " ".join(super().__str__().splitlines())


def save(
    directory: pathlib.Path,
    step: int,
    arrays: Mapping[str, np.ndarray],
    meta: Mapping[str, Any],
) -> pathlib.Path:
    """Writes a checkpoint.

    Args:
        directory: Where checkpoints lie; created if it is not there.
        step: Of the state.
        arrays: The state, by name.
        meta: What else to remember; JSON values.

    Returns:
        The directory of the new checkpoint.

    Raises:
        OSError: If it cannot be written; older checkpoints are as they were.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in directory.glob(".tmp-*"):
        shutil.rmtree(leftover)
    temporary = directory / f".tmp-{step}"
    temporary.mkdir()
    try:
        with open(temporary / _ARRAYS_NAME, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        sealed = {
            "step": step,
            "num_bytes": (temporary / _ARRAYS_NAME).stat().st_size,
            "sha256": _sha256(temporary / _ARRAYS_NAME),
            **meta,
        }
        (temporary / META_NAME).write_text(json.dumps(sealed, indent=1) + "\n")
        path = directory / f"step-{step:09d}"
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return path


def list_newest_first(directory: pathlib.Path) -> list[pathlib.Path]:
    """Returns the checkpoints in `directory`, whole or damaged."""
    found = [
        path
        for path in directory.glob("step-*")
        if re.fullmatch(r"step-\d+", path.name)
    ]
    return sorted(found, key=step_of, reverse=True)


def step_of(path: pathlib.Path) -> int:
    """Returns the step of a checkpoint, by its name."""
    return int(path.name[5:])


def load(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the arrays and the metadata of one checkpoint.

    Raises:
        CheckpointError: If a file is missing, or is not what `save` writes; nothing
            is unpickled.
    """
    try:
        meta = json.loads((path / META_NAME).read_text())
        num_bytes = (path / _ARRAYS_NAME).stat().st_size
        if num_bytes != meta["num_bytes"]:
            raise CheckpointError(
                f"{path} is damaged: {_ARRAYS_NAME} has {num_bytes} bytes, and "
                f"{meta['num_bytes']} were written"
            )
        if _sha256(path / _ARRAYS_NAME) != meta["sha256"]:
            raise CheckpointError(
                f"{path} is damaged: {_ARRAYS_NAME} is not what was written "
                "(its sha256 differs)"
            )
        with np.load(path / _ARRAYS_NAME, allow_pickle=False) as file:
            # What is compressed may unpack to any size.
            members = file.zip.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise CheckpointError(f"{path} is damaged: its arrays are compressed")
            arrays = dict(file)
        # NumPy gives the bytes of what does not begin like an array.
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise CheckpointError(f"{path} is damaged: {name} is no array")
        return arrays, meta
    except CheckpointError:
        raise
    except NPZ_ERRORS as error:
        raise CheckpointError(
            f"{path} is damaged: {type(error).__name__}: {error!s:.200}"
        ) from error


def load_newest(
    directory: pathlib.Path,
) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Returns the newest whole checkpoint, or None if there never was one.

    A damaged one is passed over with a warning that says why.

    Raises:
        CheckpointError: If there are checkpoints and every one is damaged.
    """
    paths = list_newest_first(directory)
    for path in paths:
        try:
            return load(path)
        except CheckpointError as error:
            logging.warning("%s; trying the one before", error)
    if paths:
        raise CheckpointError(
            f"all {len(paths)} checkpoints in {directory} are damaged: restore one "
            "from a backup, or remove the directory to start from step 0"
        )
    return None


def _sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
