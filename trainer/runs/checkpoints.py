"""Checkpoints: written completely or not at all, and checked before use.

A checkpoint is a directory `step-000001000` with two files. `state.safetensors` holds
arrays by name. `checkpoint.json` holds the step, the digests of the dataset and of the
settings, the size and sha256 of the arrays, and a digest of all these values. `save`
writes a checkpoint under a temporary name, syncs and renames it; see `files`. `load`
also reads `state.npz`, which earlier releases wrote.

The trainer that holds the workdir renames a damaged checkpoint to
`damaged-step-000001000`. The damaged checkpoint then no longer counts, and a new
checkpoint can take the old name. All other processes only read.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from absl import logging

from pipeline import contract
from pipeline.storage import files
from trainer.runs import arrays_file

META_NAME = "checkpoint.json"
_ASIDE = "damaged-"
# Prefixes of directories that a killed process may leave: partly written and partly
# removed checkpoints.
_UNFINISHED, _REMOVED = ".tmp-", ".removed-"
# Names of a run's digests in error messages.
_ORIGINS = {
    "config_digest": "digest of its settings",
    "dataset_digest": "digest of its dataset",
}


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the text is for the user."""

    def __str__(self) -> str:
        """Returns the text as one line, even if it quotes several lines of a file."""
        return " ".join(super().__str__().splitlines())


def save(
    directory: pathlib.Path,
    step: int,
    arrays: Mapping[str, np.ndarray],
    meta: Mapping[str, Any],
) -> pathlib.Path:
    """Writes a checkpoint, and syncs it to the disk before it returns.

    Args:
        directory: Directory of the checkpoints; created if missing.
        step: Step of the state.
        arrays: Arrays of the state by name.
        meta: Further JSON values to store.

    Returns:
        Directory of the checkpoint. An existing whole checkpoint of this run and step
        is reused, because a run's state is a function of its step.

    Raises:
        OSError: If the checkpoint cannot be written; older checkpoints are unchanged.
        ArraysError: If an array has a type that a checkpoint cannot hold.
    """
    files.make_directory(directory)
    for beginning in (_UNFINISHED, _REMOVED):
        for leftover in directory.glob(f"{beginning}*"):
            files.discard(leftover)
    path = directory / f"step-{step:09d}"
    if path.exists():
        if is_whole(path) and not _differing(read_meta(path), meta):
            return path
        set_aside(path)
    temporary = directory / f"{_UNFINISHED}{step}"
    temporary.mkdir()
    try:
        arrays_path = arrays_file.path_in(temporary)
        arrays_file.write(arrays_path, arrays)
        sealed = {
            "step": step,
            "num_bytes": arrays_path.stat().st_size,
            "sha256": _sha256(arrays_path),
            **meta,
        }
        sealed["digest"] = _digest(sealed)
        (temporary / META_NAME).write_text(json.dumps(sealed, indent=1) + "\n")
        files.put(temporary, path)
    except (OSError, arrays_file.ArraysError):
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return path


def _digest(meta: Mapping[str, Any]) -> str:
    """Returns the hex sha256 of a checkpoint's metadata."""
    canonical = json.dumps(meta, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _differing(meta: Mapping[str, Any], origin: Mapping[str, Any]) -> list[str]:
    """Returns the names of digests that differ; earlier releases lack some digests."""
    return [
        name
        for name in ("dataset_digest", "config_digest")
        if name in meta and name in origin and meta[name] != origin[name]
    ]


def remove(path: pathlib.Path) -> None:
    """Removes a checkpoint; renames it first, so readers never see a part of it.

    Raises:
        OSError: If the checkpoint cannot be removed.
    """
    removed = path.with_name(f"{_REMOVED}{path.name}")
    files.discard(removed)
    files.put(path, removed)
    files.discard(removed)


def set_aside(path: pathlib.Path) -> None:
    """Renames a damaged checkpoint; only the trainer that holds the workdir may do so.

    This removes an older damaged checkpoint of the same step.

    Raises:
        OSError: If the checkpoint cannot be renamed.
    """
    aside = path.with_name(f"{_ASIDE}{path.name}")
    files.discard(aside)
    os.replace(path, aside)
    logging.warning("%s is damaged and was renamed to %s", path, aside.name)


def list_newest_first(directory: pathlib.Path) -> list[pathlib.Path]:
    """Returns the checkpoints in `directory`, whole or damaged, that are not set aside.

    The newest comes first.
    """
    return _list(directory, "")


def list_set_aside(directory: pathlib.Path) -> list[pathlib.Path]:
    """Returns the damaged checkpoints that were set aside, highest step first."""
    return _list(directory, _ASIDE)


def _list(directory: pathlib.Path, beginning: str) -> list[pathlib.Path]:
    paths = [
        path
        for path in directory.glob(f"{beginning}step-*")
        if re.fullmatch(rf"{beginning}step-\d+", path.name)
    ]
    return sorted(paths, key=step_of, reverse=True)


def step_of(path: pathlib.Path) -> int:
    """Returns the step in the name of a checkpoint."""
    return int(path.name.rpartition("-")[2])


def is_whole(path: pathlib.Path) -> bool:
    """Returns whether a checkpoint and its arrays are complete and unchanged."""
    try:
        _check(path)
    except CheckpointError:
        return False
    return True


def load(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the arrays and the metadata of one checkpoint; never unpickles anything.

    Raises:
        CheckpointError: If a file is missing or damaged.
    """
    meta = _check(path)
    with _named(path):
        return arrays_file.read(arrays_file.path_in(path)), meta


def _check(path: pathlib.Path) -> dict[str, Any]:
    """Returns the metadata of a checkpoint; checks that its arrays are unchanged."""
    meta = read_meta(path)
    with _named(path):
        arrays_path = arrays_file.path_in(path)
        num_bytes = arrays_path.stat().st_size
        if num_bytes != meta["num_bytes"]:
            raise CheckpointError(
                f"{path} is damaged: {arrays_path.name} has {num_bytes} bytes, but "
                f"{meta['num_bytes']} were written"
            )
        if _sha256(arrays_path) != meta["sha256"]:
            raise CheckpointError(
                f"{path} is damaged: {arrays_path.name} has changed since it was "
                "written (its sha256 differs)"
            )
        return meta


def read_meta(path: pathlib.Path) -> dict[str, Any]:
    """Returns the metadata of a checkpoint without reading its arrays.

    Raises:
        CheckpointError: If the metadata is damaged, was changed, or has another step
            than the directory's name.
    """
    with _named(path):
        for name in (META_NAME, *arrays_file.NAMES):
            # Reading a pipe would never end.
            if (path / name).exists() and not (path / name).is_file():
                raise CheckpointError(f"{path} is damaged: {name} is not a file")
        meta = contract.parse_json((path / META_NAME).read_text())
        if type(meta["step"]) is not int or meta["step"] != step_of(path):
            raise CheckpointError(
                f"{path} is damaged: {META_NAME} has step {meta['step']!r:.80}"
            )
        # Earlier releases wrote no digest.
        if "digest" in meta:
            sealed = {name: meta[name] for name in meta.keys() - {"digest"}}
            if meta["digest"] != _digest(sealed):
                raise CheckpointError(
                    f"{path} is damaged: {META_NAME} was changed after it was written"
                )
        return meta


@contextlib.contextmanager
def _named(path: pathlib.Path) -> Iterator[None]:
    """Converts the errors of a damaged checkpoint to `CheckpointError`."""
    try:
        yield
    except CheckpointError:
        raise
    except arrays_file.ArraysError as error:
        raise CheckpointError(f"{path} is damaged: {error!s:.200}") from error
    except FileNotFoundError as error:
        name = pathlib.Path(error.filename or path).name
        raise CheckpointError(f"{path} is damaged: {name} is missing") from error
    except files.ARCHIVE_ERRORS as error:
        raise CheckpointError(
            f"{path} is damaged: {type(error).__name__}: {error!s:.200}"
        ) from error


def load_newest(
    directory: pathlib.Path,
    origin: Mapping[str, str] = MappingProxyType({}),
    *,
    is_owner: bool = False,
) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Returns the newest whole checkpoint, or None if the run has no checkpoint.

    A damaged checkpoint is skipped with a warning that gives the reason.

    Args:
        directory: Directory of the checkpoints.
        origin: Digests of the run's dataset and settings; see `workdir.origin`.
        is_owner: Whether the caller holds the workdir. After an owner has found a
            whole checkpoint, it sets the skipped checkpoints aside.

    Raises:
        CheckpointError: If all checkpoints are damaged, or the newest whole checkpoint
            belongs to another run.
    """
    damaged, vanished = [], []
    # List again each time: a trainer may save and remove checkpoints meanwhile.
    while paths := [
        path
        for path in list_newest_first(directory)
        if path not in damaged and path not in vanished
    ]:
        try:
            loaded = load(paths[0])
        except CheckpointError as error:
            if paths[0].exists():
                damaged.append(paths[0])
                logging.warning("%s; trying the checkpoint before it", error)
            else:
                vanished.append(paths[0])
            continue
        for name in _differing(loaded[1], origin):
            raise CheckpointError(
                f"{paths[0]} belongs to another run: the {_ORIGINS.get(name, name)} is "
                f"{loaded[1][name]!r:.80}, but {origin[name]!r} in this run. Move the "
                "checkpoint away, or give the `workdir` of its run; if config.json "
                "was edited, restore it"
            )
        if is_owner:
            for path in damaged:
                set_aside(path)
        return loaded
    damaged += list_set_aside(directory)
    if damaged:
        raise CheckpointError(
            f"every checkpoint in {directory} is damaged (number of checkpoints: "
            f"{len(damaged)}): restore one from a backup, or remove the directory to "
            "start from step 0"
        )
    return None


def _sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
