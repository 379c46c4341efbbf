"""The files of a run that say what it is: config.json and dataset.json."""

import json
import os
import pathlib
from typing import Any

from ml_collections import ConfigDict

from pipeline import contract
from trainer import settings

CONFIG_NAME, DATASET_NAME = "config.json", "dataset.json"
_REMEDY = "restore it from a backup, or choose another --workdir"


def temporary_path(path: pathlib.Path) -> pathlib.Path:
    """Returns the name under which a file is written before it is renamed."""
    return path.with_name(f".{path.name}.tmp")


def write_atomically(path: pathlib.Path, data: bytes) -> None:
    """Writes a file under a temporary name, then renames it."""
    temporary = temporary_path(path)
    temporary.write_bytes(data)
    os.replace(temporary, path)


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
) -> None:
    """Makes `workdir` the place of this run, or checks that it already is.

    Args:
        workdir: Created if it is not there.
        config: Resolved settings.
        manifest: Of the dataset to train on.
        dataset_dir: Where it is, for those who use the run; it may move.

    Raises:
        ValueError: As `check`.
        OSError: If it cannot be written.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    check(workdir, config, manifest)
    dataset = {
        "digest": manifest.digest,
        "settings": dict(manifest.settings),
        "path": os.path.abspath(dataset_dir),
    }
    current = json.loads(config.to_json())
    config_path, dataset_path = workdir / CONFIG_NAME, workdir / DATASET_NAME
    write_atomically(dataset_path, json.dumps(dataset, indent=1).encode() + b"\n")
    write_atomically(config_path, json.dumps(current, indent=1).encode() + b"\n")


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
