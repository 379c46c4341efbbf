"""An output directory, locked by one run while it makes a dataset there.

OUT/.progress/settings.json    settings and source, written before any shard
OUT/.progress/lock             lock of the running launcher, which also locks OUT;
                               a bucket has no locks
"""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import logging

from pipeline import contract
from pipeline.dataset import output_files
from pipeline.planning.dataset_settings import DatasetSettings
from pipeline.storage import files, locks, path_resolution, paths

LOCK_NAME = "lock"


@dataclasses.dataclass(frozen=True)
class LockedOutput:
    """An output directory whose lock this run holds.

    Attributes:
        output: Path of the directory.
        body: Settings, source and ID of this run, as `settings.json` holds them.
        overwrite: Whether to discard a dataset that is already there.
    """

    output: str
    body: Mapping[str, Any]
    overwrite: bool

    def begin(self, shard_names: Sequence[str]) -> None:
        """Records the settings, and discards files of another plan or dataset.

        Call it after every other check, because it removes files for good. A runner may
        repeat the call at any time; the repeated call keeps the files of this run.

        Args:
            shard_names: Names of the planned shards.

        Raises:
            DatasetError: If this run is no longer active in the directory.
        """
        output_files.check_active(self.output, self.body["run_id"])
        path = output_files.settings_path(self.output)
        text = json.dumps(self.body, indent=1).encode()
        try:
            if paths.read_bytes(path) == text:
                return
        except FileNotFoundError:
            pass
        if self.overwrite:
            output_files.discard(self.output)
        output_files.remove_unplanned(self.output, set(shard_names))
        paths.write_bytes(path, text)

    def num_bytes_freed(self) -> int:
        """Returns the size in bytes of the shards that `begin` discards."""
        if not self.overwrite:
            return 0
        return sum(
            entry.num_bytes
            for entry in paths.list_directory(self.output)
            if output_files.is_shard(entry.name)
        )


@contextlib.contextmanager
def locked(
    output: str,
    settings: DatasetSettings,
    source_fingerprint: str,
    *,
    run_id: str,
    overwrite: bool,
    is_detached: bool = False,
) -> Iterator[LockedOutput]:
    """Locks an output directory for this run.

    Unfinished files and saved plans are removed on entry. They are removed on exit too,
    unless the job is detached and still needs them. Nothing else is removed until
    `LockedOutput.begin`.

    Args:
        output: Path of the directory, which is made if it does not exist.
        settings: Settings of this run.
        source_fingerprint: Fingerprint of this run's listing.
        run_id: ID of this run.
        overwrite: Whether to discard a dataset that is already there.
        is_detached: Whether the job outlives this launcher.

    Raises:
        DatasetError: If the directory has foreign files, or a dataset with other
            settings, or another run is at work in it.
    """
    _check_output(output, overwrite=overwrite)
    try:
        paths.make_directory(output_files.progress_path(output))
    except contract.DatasetError as error:
        raise contract.DatasetError(f"cannot make output={output}: {error}") from error
    with _lock(output):
        body = {
            "schema_version": contract.SCHEMA_VERSION,
            "settings": settings.to_dict(),
            "source_fingerprint": source_fingerprint,
            "run_id": run_id,
        }
        if not overwrite:
            _check_settings(output, body)
        output_files.remove_leftovers(output)
        try:
            yield LockedOutput(output, body, overwrite)
        finally:
            # A job that is not detached fails without its launcher: its plans are gone.
            if not is_detached:
                output_files.remove_leftovers(output)


def check_apart(output: str, inputs: Mapping[str, str]) -> None:
    """Checks that an output directory neither is an input nor contains one.

    Args:
        output: Directory to write.
        inputs: Paths to read, by their arguments.

    Raises:
        DatasetError: If an input is `output` or below it, also through links or `..`.
    """
    for name, path in inputs.items():
        if path_resolution.contains(output, path):
            raise contract.DatasetError(
                f"output={output} is the same as {name}={path}, or contains it: give "
                "another `output`"
            )


def _check_output(output: str, *, overwrite: bool) -> None:
    """Checks that a directory is new, empty, or made by a run."""
    if paths.find(output) is not None:
        raise contract.DatasetError(f"output={output} is a file: give a directory")
    names = {entry.name for entry in paths.list_directory(output)}
    # Hidden files that systems make, such as .DS_Store, do no harm.
    visible = {name for name in names if not name.startswith(".")} - {"lost+found"}
    if not visible or files.PROGRESS_DIR in names or output_files.has_manifest(output):
        return
    foreign = sorted(name for name in visible if not output_files.is_ours(output, name))
    if foreign or not any(map(output_files.is_shard, visible)):
        raise contract.DatasetError(
            f"output={output} has files that do not belong to a dataset "
            f"({', '.join((foreign or sorted(visible))[:3])!r:.200}): give an empty or "
            "a new directory"
        )
    if not overwrite:
        raise contract.DatasetError(
            f"output={output} has shards, but neither {files.PROGRESS_DIR} nor a "
            f"sound {contract.MANIFEST_NAME}, so the settings of the shards are "
            "unknown: give another `output`, or `overwrite=True` to discard the shards"
        )


@contextlib.contextmanager
def _lock(output: str) -> Iterator[None]:
    """Holds a lock, which the system releases however the process ends."""
    if paths.is_url(output):
        logging.info("a bucket has no locks: let only one run at a time write to it")
        yield
        return
    try:
        lock = locks.DirectoryLock(
            pathlib.Path(output),
            pathlib.Path(output_files.progress_path(output, LOCK_NAME)),
        )
    except BlockingIOError as error:
        raise contract.DatasetError(
            f"another run is at work in output={output}: wait until "
            "it ends, or give another directory"
        ) from error
    except OSError as error:
        raise contract.DatasetError(
            f"cannot lock output={output}, because "
            f"{output_files.progress_path(output, LOCK_NAME)} cannot be opened "
            f"({error.strerror}): remove it"
        ) from error
    with contextlib.closing(lock):
        yield


def _check_settings(output: str, body: dict[str, Any]) -> None:
    """Checks that the files in a directory were made with this run's settings."""
    recorded = _recorded_settings(output)
    if recorded is None:
        return
    old, new = recorded["settings"], body["settings"]
    differences = [
        _difference(name, old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    differences += [
        f"{text} {str(recorded[name])[:12]} before, {str(body[name])[:12]} now"
        for name, text in (
            ("schema_version", "schema version"),
            ("source_fingerprint", "fingerprint of the source"),
        )
        if recorded[name] != body[name]
    ]
    if differences:
        raise contract.DatasetError(
            f"output={output} has a dataset with other settings "
            f"({'; '.join(differences)}): give another `output`, or `overwrite=True` "
            "to discard it"
        )


def _difference(name: str, old: Any, new: Any) -> str:
    def shown(value: Any) -> str:
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        return f"{name}={text}"

    if old is None:
        return f"{shown(new)} now, but not before"
    if new is None:
        return f"{shown(old)} before, but not now"
    return f"{shown(old)} before, {shown(new).partition('=')[2]} now"


def _recorded_settings(output: str) -> dict[str, Any] | None:
    for path in (
        output_files.settings_path(output),
        paths.join(output, contract.MANIFEST_NAME),
    ):
        try:
            body = contract.parse_json(paths.read_bytes(path))
            return {
                "schema_version": body["schema_version"],
                "settings": {**body["settings"]},
                "source_fingerprint": body["source_fingerprint"],
            }
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise contract.DatasetError(
                f"{path} is damaged ({type(error).__name__}: {error}): give "
                "`overwrite=True` to discard the dataset"
            ) from error
    return None
