"""An output directory, held by one run while a dataset is made in it.

OUT/.progress/settings.json    settings and source, written before any shard
OUT/.progress/lock             held by the running launcher, and so is OUT itself; a
                               bucket has no locks
"""

import contextlib
import dataclasses
import json
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import logging

from pipeline import contract
from pipeline.dataset import stats
from pipeline.formats import tfds_files
from pipeline.planning.dataset_settings import DatasetSettings
from pipeline.planning.plan import PlannedShard
from pipeline.storage import files, locks, paths

SETTINGS_NAME = "settings.json"
LOCK_NAME = "lock"

_SHARD_NAME = re.compile(
    rf"[a-zA-Z]\w*-({'|'.join(contract.SPLITS)})\.tfrecord-\d{{5,}}-of-\d{{5,}}",
    re.ASCII,
)
_FILE_NAMES = (
    contract.MANIFEST_NAME,
    contract.REJECTED_NAME,
    contract.OVERVIEW_NAME,
    stats.STATS_NAME,
    tfds_files.FEATURES_NAME,
)
# By which `files.write_bytes` goes, until a file is whole.
_TEMPORARY_NAME = re.compile(r".+\.[0-9a-f]{32}\.tmp")


@dataclasses.dataclass(frozen=True)
class Claim:
    """An output directory that this run holds.

    Attributes:
        output: The directory.
        body: Settings and source of this run, as `settings.json` holds them.
        overwrite: Whether to discard a dataset that is there.
    """

    output: str
    body: Mapping[str, Any]
    overwrite: bool

    def begin(self, planned: Sequence[PlannedShard]) -> None:
        """Records the settings, and discards what is of another plan or dataset.

        To be called once nothing more can be checked: what it removes is gone.
        """
        if self.overwrite:
            _discard(self.output)
        text = json.dumps(self.body, indent=1)
        paths.write_bytes(_in_progress(self.output, SETTINGS_NAME), text.encode())
        _remove_unplanned(self.output, planned)

    def num_bytes_freed(self) -> int:
        """Returns the size in bytes of the shards that `begin` discards."""
        if not self.overwrite:
            return 0
        return sum(
            entry.num_bytes
            for entry in paths.list_directory(self.output)
            if _SHARD_NAME.fullmatch(entry.name)
        )


@contextlib.contextmanager
def claimed(
    output: str,
    settings: DatasetSettings,
    source_fingerprint: str,
    *,
    overwrite: bool,
    is_detached: bool = False,
) -> Iterator[Claim]:
    """Holds an output directory for this run.

    Unfinished files and saved plans are removed, before, and after unless the job is
    detached, which still needs them. Nothing else is, before `Claim.begin`.

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
    _check_output(output, overwrite=overwrite)
    try:
        paths.make_directory(_in_progress(output))
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
        if not overwrite:
            _check_settings(output, body)
        _remove_leftovers(output)
        try:
            yield Claim(output, body, overwrite)
        finally:
            # Another job that outlives this launcher ends without its plans.
            if not is_detached:
                _remove_leftovers(output)


def check_apart(output: str, inputs: Mapping[str, str]) -> None:
    """Checks that an output directory neither is an input nor holds one.

    Args:
        output: Directory to write.
        inputs: Paths to read, by their flags.

    Raises:
        DatasetError: If one of them is `output` or below it, by whatever path.
    """
    for flag, path in inputs.items():
        if paths.contains(output, path):
            raise contract.DatasetError(
                f"--output={output} is or holds {flag}={path}: give another --output"
            )


def _remove_unplanned(output: str, plans: Sequence[PlannedShard]) -> None:
    """Removes the shards and sidecars of another plan."""
    names = {plan.name for plan in plans}
    for name in _names(output):
        if _SHARD_NAME.fullmatch(name) and name not in names:
            paths.remove(paths.join(output, name))
    for name in _names(_in_progress(output)):
        stem, dot, suffix = name.rpartition(".")
        if dot and suffix == "json" and name != SETTINGS_NAME and stem not in names:
            paths.remove(_in_progress(output, name))


def _in_progress(output: str, *names: str) -> str:
    return paths.join(output, files.PROGRESS_DIR, *names)


def _names(directory: str) -> list[str]:
    """Returns the names of the files that are directly in a directory."""
    entries = paths.list_directory(directory)
    return [entry.name for entry in entries if not entry.is_directory]


def _check_output(output: str, *, overwrite: bool) -> None:
    """Checks that a directory is new, empty, or one of ours."""
    if paths.find(output) is not None:
        raise contract.DatasetError(f"--output={output} is a file, not a directory")
    names = {entry.name for entry in paths.list_directory(output)}
    # Those that systems make, such as .DS_Store, are in nobody's way.
    seen = {name for name in names if not name.startswith(".")} - {"lost+found"}
    if not seen or files.PROGRESS_DIR in names or _has_manifest(output):
        return
    foreign = sorted(name for name in seen if not _is_ours(output, name))
    if foreign or not any(map(_SHARD_NAME.fullmatch, seen)):
        raise contract.DatasetError(
            f"--output={output} has files that are not a dataset's "
            f"({', '.join((foreign or sorted(seen))[:3])!r:.200}): give an empty or a "
            "new directory"
        )
    if not overwrite:
        raise contract.DatasetError(
            f"--output={output} has shards without {files.PROGRESS_DIR} and without a "
            f"sound {contract.MANIFEST_NAME}, so it is not known what they were made "
            "of: give another --output, or --overwrite to discard them"
        )


def _has_manifest(output: str) -> bool:
    """Whether a directory has a manifest of a dataset, and not of something else."""
    try:
        body = contract.parse_json(
            paths.read_bytes(paths.join(output, contract.MANIFEST_NAME))
        )
    except (FileNotFoundError, ValueError, RecursionError):
        return False
    wanted = {"schema_version", "settings", "source_fingerprint", "splits"}
    return isinstance(body, dict) and wanted <= body.keys()


def _is_ours(output: str, name: str) -> bool:
    """Whether a file is one that a run writes, by its name."""
    if name == tfds_files.DATASET_INFO_NAME:
        # TensorFlow Datasets has shards of the same names.
        text = paths.read_bytes(paths.join(output, name))
        return tfds_files.is_our_dataset_info(text)
    return (
        name in _FILE_NAMES
        or name.endswith(tfds_files.LABELS_SUFFIX)
        or bool(_SHARD_NAME.fullmatch(name) or _TEMPORARY_NAME.fullmatch(name))
    )


@contextlib.contextmanager
def _locked(output: str) -> Iterator[None]:
    """Holds a lock that the system releases however the process ends."""
    if paths.is_url(output):
        logging.info("a bucket has no locks: give --output to one run at a time")
        yield
        return
    try:
        lock = locks.DirectoryLock(
            pathlib.Path(output), pathlib.Path(_in_progress(output, LOCK_NAME))
        )
    except BlockingIOError as error:
        raise contract.DatasetError(
            f"another run is at work in --output={output}: wait for "
            "it, or give another directory"
        ) from error
    except OSError as error:
        raise contract.DatasetError(
            f"cannot lock --output={output}: {error}"
        ) from error
    with contextlib.closing(lock):
        yield


def _discard(output: str) -> None:
    """Removes what would make a dataset seem complete, or pass for another one's."""
    paths.remove(paths.join(output, contract.MANIFEST_NAME), is_synced=True)
    for name in _names(_in_progress(output)):
        if name.endswith(".json"):
            paths.remove(_in_progress(output, name))
    # Not every dataset has these.
    for name in _names(output):
        if name in (stats.STATS_NAME, contract.OVERVIEW_NAME) or name.endswith(
            tfds_files.LABELS_SUFFIX
        ):
            paths.remove(paths.join(output, name))


def _remove_leftovers(output: str) -> None:
    """Removes unfinished files and saved plans."""
    # A worker that was lost may just be at its end: what is gone is no error.
    for name in _names(_in_progress(output)):
        if name.endswith((".tmp", ".npz")):
            paths.remove(_in_progress(output, name))
    for name in _names(output):
        if _TEMPORARY_NAME.fullmatch(name):
            paths.remove(paths.join(output, name))


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
                f"{path} is damaged ({type(error).__name__}: {error}): --overwrite "
                "discards what is there"
            ) from error
    return None
