"""An output directory, held by one run while a dataset is made in it.

OUT/.progress/settings.json    settings and source, written before anything else
OUT/.progress/lock             held by the running launcher; a bucket has none
"""

import contextlib
import fcntl
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from absl import logging

from pipeline import contract, files, stats, storage, tfds_files
from pipeline.dataset_settings import DatasetSettings
from pipeline.plan import PlannedShard

SETTINGS_NAME = "settings.json"
LOCK_NAME = "lock"

_SHARD_NAME = re.compile(
    rf"[a-zA-Z]\w*-({'|'.join(contract.SPLITS)})\.tfrecord-\d{{5,}}-of-\d{{5,}}",
    re.ASCII,
)
# By which `files.write_bytes` goes, until a file is whole.
_TEMPORARY_NAME = re.compile(r".+\.[0-9a-f]{32}\.tmp")


@contextlib.contextmanager
def claimed(
    output: str,
    settings: DatasetSettings,
    source_fingerprint: str,
    *,
    overwrite: bool,
    is_detached: bool = False,
) -> Iterator[None]:
    """Holds an output directory for this run, and records its settings in it.

    Unfinished files and saved plans are removed, before, and after unless the job is
    detached, which still needs them.

    Args:
        output: Made if it is not there.
        settings: Of this run.
        source_fingerprint: Of this run's listing.
        overwrite: Whether to discard a dataset that is there.
        is_detached: Whether the job goes on after this run of its launcher.

    Raises:
        DatasetError: If the directory has files that are not ours, or a dataset with
            other settings, or another run is at work in it.
    """
    _check_output(output)
    try:
        storage.make_directory(_in_progress(output))
    except contract.DatasetError as error:
        raise contract.DatasetError(
            f"cannot make --output={output}: {error}"
        ) from error
    with _locked(output):
        body = {
            "schema_version": contract.SCHEMA_VERSION,
            "settings": settings.to_dict(),
            "source_fingerprint": source_fingerprint,
        }
        if overwrite:
            _discard(output)
        else:
            _check_settings(output, body)
        text = json.dumps(body, indent=1)
        storage.write_bytes(_in_progress(output, SETTINGS_NAME), text.encode())
        _remove_leftovers(output)
        try:
            yield
        finally:
            # Another job that outlives this launcher ends without its plans.
            if not is_detached:
                _remove_leftovers(output)


def remove_unplanned(output: str, plans: Sequence[PlannedShard]) -> None:
    """Removes the shards and sidecars of another plan."""
    names = {plan.name for plan in plans}
    for name in _names(output):
        if _SHARD_NAME.fullmatch(name) and name not in names:
            storage.remove(storage.join(output, name))
    for name in _names(_in_progress(output)):
        stem, dot, suffix = name.rpartition(".")
        if dot and suffix == "json" and name != SETTINGS_NAME and stem not in names:
            storage.remove(_in_progress(output, name))


def _in_progress(output: str, *names: str) -> str:
    return storage.join(output, files.PROGRESS_DIR, *names)


def _names(directory: str) -> list[str]:
    """Returns the names of what is directly in a directory."""
    return [entry.name for entry in storage.list_directory(directory)]


def _check_output(output: str) -> None:
    """Checks that a directory is new, empty, or one of ours."""
    if storage.find(output) is not None:
        raise contract.DatasetError(f"--output={output} is a file, not a directory")
    names = _names(output)
    if names and not {files.PROGRESS_DIR, contract.MANIFEST_NAME}.intersection(names):
        raise contract.DatasetError(
            f"--output={output} has files that are not a dataset's: give an empty or "
            "a new directory"
        )


@contextlib.contextmanager
def _locked(output: str) -> Iterator[None]:
    """Holds a lock that the system releases however the process ends."""
    if storage.is_url(output):
        logging.info("a bucket has no locks: give --output to one run at a time")
        yield
        return
    path = _in_progress(output, LOCK_NAME)
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise contract.DatasetError(
                f"another run is at work in --output={output}: wait for "
                "it, or give another directory"
            ) from error
        except OSError as error:
            # Some network file systems have no locks.
            logging.warning("cannot lock %s: %s", path, error)
        yield


def _discard(output: str) -> None:
    """Removes what would make a dataset seem complete, or pass for another one's."""
    storage.remove(storage.join(output, contract.MANIFEST_NAME), is_synced=True)
    for name in _names(_in_progress(output)):
        if name.endswith(".json"):
            storage.remove(_in_progress(output, name))
    # Not every dataset has these.
    for name in _names(output):
        if name in (stats.STATS_NAME, contract.OVERVIEW_NAME) or name.endswith(
            tfds_files.LABELS_SUFFIX
        ):
            storage.remove(storage.join(output, name))


def _remove_leftovers(output: str) -> None:
    """Removes unfinished files and saved plans."""
    # A worker that was lost may just be at its end: what is gone is no error.
    for name in _names(_in_progress(output)):
        if name.endswith((".tmp", ".npz")):
            storage.remove(_in_progress(output, name))
    for name in _names(output):
        if _TEMPORARY_NAME.fullmatch(name):
            storage.remove(storage.join(output, name))


def _check_settings(output: str, body: dict[str, Any]) -> None:
    """Checks that what is in a directory was made with the same settings."""
    there = _recorded_settings(output)
    if there is None:
        return
    old, new = there["settings"], body["settings"]
    differences = [
        f"--{flag}={old.get(flag)} there, {new.get(flag)} now"
        for flag in sorted(old.keys() | new.keys())
        if old.get(flag) != new.get(flag)
    ]
    differences += [
        f"{name} {str(there[name])[:12]} there, {str(body[name])[:12]} now"
        for name in ("schema_version", "source_fingerprint")
        if there[name] != body[name]
    ]
    if differences:
        raise contract.DatasetError(
            f"--output={output} has a dataset with other settings "
            f"({'; '.join(differences)}): give another --output, or --overwrite to "
            "discard it"
        )


def _recorded_settings(output: str) -> dict[str, Any] | None:
    for path in (
        _in_progress(output, SETTINGS_NAME),
        storage.join(output, contract.MANIFEST_NAME),
    ):
        try:
            body = json.loads(storage.read_bytes(path))
            return {
                "schema_version": body["schema_version"],
                "settings": {**body["settings"]},
                "source_fingerprint": body["source_fingerprint"],
            }
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise contract.DatasetError(
                f"{path} is damaged ({type(error).__name__}: {error}): --overwrite "
                "discards what is there"
            ) from error
    return None
