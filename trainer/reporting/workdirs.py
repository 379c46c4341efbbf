"""Workdirs that a user names in one flag, and their names."""

import os
import pathlib
from collections.abc import Sequence

from pipeline.process import path_flags
from trainer.runs import workdir


def split(text: str) -> list[pathlib.Path]:
    """Returns the workdirs named by a value of `workdir`.

    A comma separates workdirs. If the whole text is a directory, the comma is part of
    its name: a sweep makes such directories.

    Raises:
        ValueError: If a name is no local path, or one of several workdirs is missing.
    """
    is_one = os.path.isdir(os.path.expanduser(text))
    parts = [text] if is_one else [part for part in text.split(",") if part]
    try:
        paths = [pathlib.Path(path_flags.parse(part)) for part in parts or [text]]
    except ValueError as error:
        raise ValueError(f"workdir={text}: {error}") from error
    missing = [path for path in paths if not path.is_dir()]
    if missing and len(paths) > 1:
        raise ValueError(
            f"workdir={text} names several directories, but {missing[0]} does not "
            "exist: correct the name, or give a name with a comma in a separate "
            "`workdir`"
        )
    return paths


def names_of(workdirs: Sequence[pathlib.Path]) -> dict[str, pathlib.Path]:
    """Returns workdirs by the shortest names that tell them apart.

    Raises:
        ValueError: If a workdir is neither a run nor a directory of runs, such as a
            sweep's.

    Example:
        >>> from unittest import mock
        >>> with mock.patch.object(pathlib.Path, "exists", return_value=True):
        ...     list(names_of([pathlib.Path("runs/a"), pathlib.Path("old/a")]))
        ['runs.a', 'old.a']
    """
    paths = list(dict.fromkeys(path.absolute() for path in workdirs))
    for path in paths:
        if not is_run(path) and not any(path.glob("*/config.json")):
            raise workdir.no_run_error(path, workdir.CONFIG_NAME)
    num_parts = 1
    while True:
        # Join with a dot: a slash would lead into a directory of a run.
        names = [".".join(path.parts[-num_parts:]) for path in paths]
        if len(set(names)) == len(paths):
            return dict(zip(names, paths, strict=True))
        num_parts += 1


def runs_of(workdirs: Sequence[pathlib.Path]) -> dict[str, pathlib.Path]:
    """Returns all runs of workdirs, with each run of a sweep, by their shortest names.

    Raises:
        ValueError: If a workdir is neither a run nor a directory of runs.
    """
    found = []
    for path in names_of(workdirs).values():
        if is_run(path):
            found.append(path)
        else:
            found += sorted(each.parent for each in path.glob("*/config.json"))
    return names_of(found)


def is_run(path: pathlib.Path) -> bool:
    """Returns whether a directory is the workdir of a run."""
    return (path / "config.json").exists()
