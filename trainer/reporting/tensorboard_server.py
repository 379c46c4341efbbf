"""Starts TensorBoard on the directories of runs."""

import contextlib
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator, Sequence

from absl import flags

from pipeline.process import path_flags
from pipeline.storage import files
from trainer.system import libraries, versions

try:
    from tensorboard import default, program
    from tensorboard.data import server_ingester

    from trainer.reporting import projector_points
except ImportError as error:
    sys.exit(f"error: {versions.import_error('tensorboard', error)}")

# TensorBoard keeps 10 images per tag by default, and none with 0: ask for all of them.
_SAMPLES = "images=1000000"
# Directories of a run that hold its events.
_EVENTS = ("train", "eval")


def launch(directory: str, host: str, port: int | None) -> str:
    """Starts TensorBoard in a thread and returns its address.

    Args:
        directory: Directory of event files, or of directories with event files.
        host: Host to listen at.
        port: Port to listen at; 0 for any free port; None for 6006 or the next free
            port.

    Raises:
        ValueError: If TensorBoard cannot listen at this host and port.
    """
    # TensorBoard would import TensorFlow itself, with all its start-up messages.
    libraries.load_tensorflow()
    # TensorBoard's parser takes over all absl flags, and defines --host and --port.
    flags.FLAGS.remove_flag_values(("host", "port"))
    board = program.TensorBoard(default.get_plugins())
    try:
        server_ingester.get_server_binary()
        is_fast = True
    except server_ingester.NoDataServerError:  # Some processors have no such server.
        is_fast = False
    arguments = [
        f"--load_fast={is_fast}".lower(),
        f"--logdir={directory}",
        f"--host={host}",
        f"--samples_per_plugin={_SAMPLES}",
    ]
    if port is not None:
        arguments.append(f"--port={port}")
    board.configure(["tensorboard", *arguments])
    try:
        return board.launch()
    except program.TensorBoardServerException as error:
        raise ValueError(
            f"cannot listen at `host={host}`, `port={port or 'default'}` "
            f"({' '.join(error.msg.split())}): choose another `port`, or `port=0` for "
            "any free port"
        ) from error


def split_workdirs(text: str) -> list[pathlib.Path]:
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
        if not _is_run(path) and not any(path.glob("*/config.json")):
            raise ValueError(
                f"workdir={path} holds no run (config.json is missing): give the "
                "`workdir` of trainer.train or trainer.sweep"
            )
    num_parts = 1
    while True:
        # Join with a dot: a slash would lead into a directory of a run.
        names = [".".join(path.parts[-num_parts:]) for path in paths]
        if len(set(names)) == len(paths):
            return dict(zip(names, paths, strict=True))
        num_parts += 1


@contextlib.contextmanager
def as_one_directory(workdirs: Sequence[pathlib.Path]) -> Iterator[str]:
    """Yields one directory with all runs, and with the points made for the projector.

    Several workdirs get a temporary directory, and so does a run with points.
    """
    named = names_of(workdirs)
    runs = {name: path for name, path in named.items() if _is_run(path)}
    points = {name: projector_points.find(path) for name, path in runs.items()}
    if len(named) == 1 and not any(points.values()):
        yield str(*named.values())
        return
    prefix = files.scratch_prefix(tempfile.gettempdir(), os.getpid())
    with tempfile.TemporaryDirectory(prefix=prefix) as temporary:
        directory = pathlib.Path(temporary)
        for name, path in named.items():
            place = directory / name if len(named) > 1 else directory
            if name in runs:
                place.mkdir(exist_ok=True)
                # Without the directory `generated`, which may hold events of earlier
                # versions. The trainer may create these two later.
                for part in _EVENTS:
                    (place / part).symlink_to(path / part, target_is_directory=True)
            else:
                place.symlink_to(path, target_is_directory=True)
        folders = {
            f"{name}: {folder.name}: " if len(named) > 1 else f"{folder.name}: ": folder
            for name, found in points.items()
            for folder in found
        }
        if folders:
            projector_points.gather(directory, folders)
        yield temporary


def _is_run(path: pathlib.Path) -> bool:
    return (path / "config.json").exists()
