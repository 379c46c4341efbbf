"""Files that runs write into an output directory: names and removal."""

import re
from collections.abc import Collection

from pipeline import contract
from pipeline.dataset import stats
from pipeline.formats import tfds_files
from pipeline.storage import files, paths

SETTINGS_NAME = "settings.json"

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
# Files that describe one dataset.
_DESCRIPTIONS = (
    contract.REJECTED_NAME,
    contract.OVERVIEW_NAME,
    stats.STATS_NAME,
    tfds_files.DATASET_INFO_NAME,
)
# Name of a file that `files.write_bytes` has not finished.
_TEMPORARY_NAME = re.compile(r".+\.[0-9a-f]{32}\.tmp")


def is_shard(name: str) -> bool:
    """Returns whether a file has the name of a shard."""
    return bool(_SHARD_NAME.fullmatch(name))


def progress_path(output: str, *names: str) -> str:
    """Returns the path of a run's progress directory, or of a file in it."""
    return paths.join(output, files.PROGRESS_DIR, *names)


def settings_path(output: str) -> str:
    """Returns the path of a run's recorded settings."""
    return progress_path(output, SETTINGS_NAME)


def _names(directory: str) -> list[str]:
    """Returns the names of the files that are directly in a directory."""
    entries = paths.list_directory(directory)
    return [entry.name for entry in entries if not entry.is_directory]


def has_manifest(output: str) -> bool:
    """Returns whether a directory has the manifest of a dataset."""
    try:
        body = contract.parse_json(
            paths.read_bytes(paths.join(output, contract.MANIFEST_NAME))
        )
    except (FileNotFoundError, ValueError, RecursionError):
        return False
    fields = {"schema_version", "settings", "source_fingerprint", "splits"}
    return isinstance(body, dict) and fields <= body.keys()


def is_ours(output: str, name: str) -> bool:
    """Returns whether runs write a file of this name."""
    if name == tfds_files.DATASET_INFO_NAME:
        # TensorFlow Datasets writes a file of this name too, so read the content.
        text = paths.read_bytes(paths.join(output, name))
        return tfds_files.is_our_dataset_info(text)
    return (
        name in _FILE_NAMES
        or name.endswith(tfds_files.LABELS_SUFFIX)
        or is_shard(name)
        or bool(_TEMPORARY_NAME.fullmatch(name))
    )


def discard(output: str) -> None:
    """Removes a dataset's manifest, settings, sidecars, and files that describe it.

    The manifest goes first: without it the directory does not count as complete.
    """
    paths.remove(paths.join(output, contract.MANIFEST_NAME), is_synced=True)
    for name in _names(progress_path(output)):
        if name.endswith(".json"):
            paths.remove(progress_path(output, name))
    # A new dataset may lack these files, or end before it writes them, and the old
    # files would pass for its own.
    for name in _names(output):
        is_description = name in _DESCRIPTIONS and is_ours(output, name)
        if is_description or name.endswith(tfds_files.LABELS_SUFFIX):
            paths.remove(paths.join(output, name))


def check_active(output: str, run_id: str) -> None:
    """Checks that a run is still active in the output directory.

    A run keeps files with its ID in `.progress` until it ends or a later run begins.

    Raises:
        DatasetError: If no file in `.progress` has the ID.
    """
    folder = progress_path(output)
    if not any(f"{run_id}." in name for name in _names(folder)):
        raise contract.DatasetError(
            f"a worker finds no files of this run in {folder}: every worker must see "
            "`output` at the same path, and no later run may work in it"
        )


def remove_leftovers(output: str) -> None:
    """Removes unfinished files and saved plans."""
    # A worker of a killed run may be finishing these files, so any of them may vanish.
    for name in _names(progress_path(output)):
        if name.endswith((".tmp", ".npz")):
            paths.remove(progress_path(output, name))
    for name in _names(output):
        if _TEMPORARY_NAME.fullmatch(name):
            paths.remove(paths.join(output, name))


def remove_unplanned(output: str, shard_names: Collection[str]) -> None:
    """Removes the shards and sidecars of another plan."""
    for name in _names(output):
        if is_shard(name) and name not in shard_names:
            paths.remove(paths.join(output, name))
    for name in _names(progress_path(output)):
        stem, dot, suffix = name.rpartition(".")
        is_sidecar = dot and suffix == "json" and name != SETTINGS_NAME
        if is_sidecar and stem not in shard_names:
            paths.remove(progress_path(output, name))
