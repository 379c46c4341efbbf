"""The output directory of a run: its identity, its lock and its errors.

WORKDIR/config.json     resolved settings
WORKDIR/dataset.json    digest, settings, path and manifest of the dataset
WORKDIR/lock            locked by the running trainer, which locks WORKDIR itself too
"""

import errno
import hashlib
import json
import os
import pathlib
import shutil
from typing import Any

from ml_collections import ConfigDict

from pipeline import contract
from pipeline.process import limits
from pipeline.storage import contents, files, locks
from trainer.runs import setting_checks, settings
from trainer.system import atomic_files

LOCK_NAME = "lock"
CONFIG_NAME, DATASET_NAME = "config.json", "dataset.json"

# Kinds of `contents` that no run may be mixed with.
_FOREIGN = ("dataset", "unfinished", "export")
_REMEDY = "restore it from a backup, or choose another `workdir`"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PROTECTED = (errno.EROFS, errno.EACCES, errno.EPERM)


def read_json(path: pathlib.Path, *texts: str) -> dict[str, Any]:
    """Returns the JSON object of a file that `acquire` wrote.

    Args:
        path: Path of the file.
        texts: Names of required values, which must be strings of one line.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is damaged.
    """
    try:
        body = contract.parse_json(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): {_REMEDY}") from error
    if not isinstance(body, dict) or not "".join(body).isprintable():
        raise ValueError(
            f"{path} is damaged (it is not an object with printable names): {_REMEDY}"
        )
    for name in texts:
        text = body.get(name)
        if not isinstance(text, str) or not text.isprintable():
            raise ValueError(f"{path} is damaged (it has no {name}): {_REMEDY}")
    return body


def acquire(
    workdir: pathlib.Path,
    config: ConfigDict,
    manifest: contract.Manifest,
    dataset_dir: str | os.PathLike[str],
) -> locks.DirectoryLock:
    """Locks `workdir` for this run, checks it, and records the settings and dataset.

    Args:
        workdir: Output directory; created if missing.
        config: Resolved settings.
        manifest: Manifest of the training dataset.
        dataset_dir: Directory of the dataset, recorded for users of the run; it may
            move later.

    Returns:
        The lock. No other trainer gets it until it is closed or this process ends.

    Raises:
        ValueError: If another trainer holds the directory, or `check` finds a mistake.
        OSError: If the directory cannot be written.
    """
    _check_is_no_dataset(workdir)
    files.make_directory(workdir)
    lock = _lock(workdir)
    try:
        _write_identity(workdir, config, manifest, dataset_dir)
    except BaseException:
        lock.close()
        raise
    return lock


def describe_error(workdir: pathlib.Path, error: OSError) -> str:
    """Explains an OS error to the user of a workdir.

    Args:
        workdir: Output directory of the run.
        error: Error of any file. A full disk and too many open files are always
            explained; any other error outside the workdir keeps its own text.
    """
    if limits.is_out_of_files(error):
        return limits.out_of_files_text(error)
    if error.errno in _FULL:
        existing = next(at for at in (workdir, *workdir.parents) if at.exists())
        usage = shutil.disk_usage(existing)
        return (
            f"the disk of workdir={workdir} is full ({error.strerror}; "
            f"{usage.free >> 10} of {usage.total >> 10} KiB are free): free some "
            "space, and make the same call to go on from the last checkpoint; fewer "
            "`config.keep_checkpoints` need less space"
        )
    path = pathlib.Path(error.filename or "")
    if path != workdir and workdir not in path.parents and path not in workdir.parents:
        return str(error)
    if error.errno in _PROTECTED:
        return (
            f"workdir={workdir} cannot be written ({error.strerror}): make it "
            "writable, or choose another"
        )
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"workdir={workdir} is a file, or inside a file: choose another"
    return str(error)


def resumed(workdir: pathlib.Path, config: ConfigDict) -> ConfigDict:
    """Returns the settings by which the run in `workdir` goes on, if it holds one.

    Args:
        workdir: Output directory; need not exist.
        config: Resolved settings.

    Raises:
        ValueError: If config.json is damaged.
    """
    try:
        saved = read_json(workdir / CONFIG_NAME)
    except FileNotFoundError:
        return config
    try:
        return settings.resumed(config, saved)
    except ValueError as error:
        raise ValueError(
            f"{workdir / CONFIG_NAME} is damaged ({error}): {_REMEDY}"
        ) from error


def check_held(workdir: pathlib.Path, lock: locks.DirectoryLock) -> None:
    """Checks that a workdir is still the directory that `acquire` locked.

    Raises:
        ValueError: If the directory was removed or replaced, because another run may
            now use the path.
    """
    if not lock.is_held():
        raise ValueError(
            f"workdir={workdir} was removed or replaced while this trainer ran, so "
            "the trainer stopped: stop other programs that use the directory, and "
            "start again"
        )


def origin(config: ConfigDict, manifest: contract.Manifest) -> dict[str, str]:
    """Returns the digests that tie a checkpoint to its run, by name.

    Returns:
        `dataset_digest`; and `config_digest`, the hex sha256 of the settings that a
        resumed run must not change.
    """
    text = json.dumps(settings.decisive(config), sort_keys=True)
    return {
        "dataset_digest": manifest.digest,
        "config_digest": hashlib.sha256(text.encode()).hexdigest(),
    }


def _check_is_no_dataset(workdir: pathlib.Path) -> None:
    """Checks that a directory without a run has no files of a dataset or an export."""
    if (workdir / CONFIG_NAME).exists():
        return
    found = contents.find(str(workdir))
    if found.kind in _FOREIGN:
        raise ValueError(
            f"workdir={workdir} is {found}, and a run needs a directory of its own: "
            "give a new directory, or the `workdir` of a run"
        )


def no_run_error(workdir: pathlib.Path, name: str) -> ValueError:
    """Returns the error for a directory that holds no run.

    Args:
        workdir: Directory that should be a workdir.
        name: Name of the file that is missing.
    """
    found = contents.find(str(workdir))
    if found.kind == "absent":
        text = "does not exist"
    elif found.kind == "runs":
        inner = workdir / pathlib.Path(found.example).parent
        return ValueError(
            f"workdir={workdir} holds several runs: give one, such as {inner}"
        )
    else:
        text = f"holds no run ({name} is missing)"
        if found.kind not in ("run", "empty"):
            text += (
                f", but {found}" if found.kind != "file" else ", because it is a file"
            )
    return ValueError(
        f"workdir={workdir} {text}: give the `workdir` of a run of trainer.train"
    )


def _lock(workdir: pathlib.Path) -> locks.DirectoryLock:
    """Returns a lock that the system releases however the process ends."""
    path = workdir / LOCK_NAME
    try:
        return locks.DirectoryLock(workdir, path)
    except BlockingIOError as error:
        raise ValueError(
            f"workdir={workdir} is in use by another trainer.train: wait until it "
            "ends, or choose another `workdir`"
        ) from error
    except OSError as error:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise ValueError(f"{path} is a link, or not a file: remove it") from error
        raise


def _write_identity(
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
        # A run can be used without its dataset, so keep the manifest.
        "manifest": json.loads(manifest.to_json()),
    }
    current = json.loads(config.to_json())
    config_path, dataset_path = workdir / CONFIG_NAME, workdir / DATASET_NAME
    atomic_files.write(dataset_path, json.dumps(dataset, indent=1).encode() + b"\n")
    atomic_files.write(config_path, json.dumps(current, indent=1).encode() + b"\n")


def check(
    workdir: pathlib.Path, config: ConfigDict, manifest: contract.Manifest
) -> None:
    """Checks that `workdir` is new, or holds a run that these settings can resume.

    A run of an earlier version may go on choosing checkpoints by the test split.

    Args:
        workdir: Output directory; need not exist.
        config: Resolved settings.
        manifest: Manifest of the training dataset.

    Raises:
        ValueError: If the directory holds a run with other settings or another dataset
            (the message names each difference), or checkpoints without a run; or if
            `setting_checks.check_best` finds a mistake.
        OSError: If the directory cannot be read.
    """
    _check_is_no_dataset(workdir)
    config_path, dataset_path = workdir / CONFIG_NAME, workdir / DATASET_NAME
    before: dict[str, Any] = {}
    if config_path.exists() and dataset_path.exists():
        before = read_json(config_path)
        current = json.loads(resumed(workdir, config).to_json())
        lines = settings.differences(before, current)
        saved = read_json(dataset_path, "digest")
        if saved["digest"] != manifest.digest:
            lines.append(
                f"the dataset's digest was {saved['digest']} and is now "
                f"{manifest.digest}"
            )
        if lines:
            raise ValueError(
                f"{workdir} holds a run with other settings: {'; '.join(lines)}. "
                "Choose another `workdir`, or the old settings to resume"
            )
    elif any(workdir.glob("checkpoints/*")):
        raise ValueError(
            f"{workdir} has checkpoints but lacks config.json or dataset.json, so the "
            "settings of the checkpoints are unknown: choose another `workdir`"
        )
    if not before.get("keep_best_checkpoints"):
        setting_checks.check_best(config)
