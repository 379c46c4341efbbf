"""The output directory of a run: what it is, who is at work in it, what is wrong.

WORKDIR/config.json     resolved settings
WORKDIR/dataset.json    digest and settings of the dataset, and its place
WORKDIR/lock            held by the running trainer
"""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import shutil
from typing import IO, Any

from absl import logging
from ml_collections import ConfigDict

from pipeline import contract, files
from trainer import atomic_files, settings

LOCK_NAME = "lock"
CONFIG_NAME, DATASET_NAME = "config.json", "dataset.json"

_REMEDY = "restore it from a backup, or choose another --workdir"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PROTECTED = (errno.EROFS, errno.EACCES, errno.EPERM)


def read_json(path: pathlib.Path, *texts: str) -> dict[str, Any]:
    """Returns what `claim` wrote.

    Args:
        path: Of the file.
        texts: Names of values that must be there, and strings of one line.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it is damaged.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): {_REMEDY}") from error
    if not isinstance(body, dict) or not "".join(body).isprintable():
        raise ValueError(f"{path} is damaged ({body!r:.40}): {_REMEDY}")
    for name in texts:
        text = body.get(name)
        if not isinstance(text, str) or not text.isprintable():
            raise ValueError(f"{path} is damaged (it has no {name}): {_REMEDY}")
    return body


def claim(
    workdir: pathlib.Path,
    config: ConfigDict,
    manifest: contract.Manifest,
    dataset_dir: str | os.PathLike[str],
) -> IO[str]:
    """Makes `workdir` the place of this run, or checks that it already is.

    Args:
        workdir: Created if it is not there.
        config: Resolved settings.
        manifest: Of the dataset to train on.
        dataset_dir: Where it is, for those who use the run; it may move.

    Returns:
        The lock, which no other trainer gets until it is closed or this process ends.

    Raises:
        ValueError: If another trainer is at work in the directory, or as `check`.
        OSError: If it cannot be written.
    """
    files.make_directory(workdir)
    lock = _lock(workdir)
    try:
        _claim(workdir, config, manifest, dataset_dir)
    except BaseException:
        lock.close()
        raise
    return lock


def describe_error(workdir: pathlib.Path, error: OSError) -> str:
    """Returns what an error of the system means for the user of a workdir.

    Args:
        workdir: Of the run.
        error: Of any file; of others than the workdir's it is told as it is.
    """
    if error.errno in _FULL:
        there = next(at for at in (workdir, *workdir.parents) if at.exists())
        usage = shutil.disk_usage(there)
        return (
            f"the disk of --workdir={workdir} is full ({error.strerror}; "
            f"{usage.free >> 10} of {usage.total >> 10} KiB are free): make space, and "
            "the same command goes on from the last checkpoint, of which "
            "--config.keep_checkpoints stay"
        )
    path = pathlib.Path(error.filename or "")
    if path != workdir and workdir not in path.parents and path not in workdir.parents:
        return str(error)
    if error.errno in _PROTECTED:
        return (
            f"--workdir={workdir} cannot be written ({error.strerror}): make it "
            "writable, or choose another"
        )
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"--workdir={workdir} is a file, or in one: choose another"
    return str(error)


def _lock(workdir: pathlib.Path) -> IO[str]:
    """Returns an open file with a lock that the system releases at any end."""
    path = workdir / LOCK_NAME
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "a"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"another trainer.train is at work in --workdir={workdir}: wait for "
                "it, or choose another"
            ) from error
        except OSError as error:
            # Some network file systems have no locks.
            logging.warning("cannot lock %s: %s", path, error)
        stack.pop_all()
    return file


def _claim(
    workdir: pathlib.Path,
    config: ConfigDict,
    manifest: contract.Manifest,
    dataset_dir: str | os.PathLike[str],
) -> None:
    check(workdir, config, manifest)
    dataset = {
        "digest": manifest.digest,
        "settings": dict(manifest.settings),
        "path": os.path.abspath(dataset_dir),
    }
    current = json.loads(config.to_json())
    config_path, dataset_path = workdir / CONFIG_NAME, workdir / DATASET_NAME
    atomic_files.write(dataset_path, json.dumps(dataset, indent=1).encode() + b"\n")
    atomic_files.write(config_path, json.dumps(current, indent=1).encode() + b"\n")


def check(
    workdir: pathlib.Path, config: ConfigDict, manifest: contract.Manifest
) -> None:
    """Checks that `workdir` is new, or of a run that these settings go on with.

    Args:
        workdir: Need not be there.
        config: Resolved settings.
        manifest: Of the dataset to train on.

    Raises:
        ValueError: If the directory holds a run with other settings or another
            dataset, each difference named; or files that are no run's.
        OSError: If it cannot be read.
    """
    config_path, dataset_path = workdir / CONFIG_NAME, workdir / DATASET_NAME
    if config_path.exists() and dataset_path.exists():
        current = json.loads(config.to_json())
        lines = settings.differences(read_json(config_path), current)
        saved = read_json(dataset_path, "digest")
        if saved["digest"] != manifest.digest:
            lines.append(
                f"the dataset's digest was {saved['digest']} and is now "
                f"{manifest.digest}"
            )
        if lines:
            raise ValueError(
                f"{workdir} holds a run with other settings: {'; '.join(lines)}. "
                "Choose another --workdir, or the old settings to resume"
            )
    elif any(workdir.glob("checkpoints/*")):
        raise ValueError(
            f"{workdir} has checkpoints but no config.json and dataset.json, so it is "
            "not known what they were made with: choose another --workdir"
        )
