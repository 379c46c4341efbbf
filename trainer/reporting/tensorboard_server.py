"""TensorBoard, started on the directories of runs."""

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
except ImportError as error:
    sys.exit(f"error: {versions.import_error('tensorboard', error)}")

# All that a run draws; TensorBoard would keep ten of a tag, and with 0 it shows none.
_SAMPLES = "images=1000000"


def launch(directory: str, host: str, port: int | None) -> str:
    """Starts TensorBoard in a thread, and returns its address.

    Args:
        directory: With event files, or with directories of them.
        host: To listen at.
        port: To listen at; 0 for any that is free; None for 6006 or the next free one.

    Raises:
        ValueError: If it cannot listen there.
    """
    # TensorBoard would import it, with all that it says.
    libraries.load_tensorflow()
    # TensorBoard's own parser takes in all flags that absl knows, and has these.
    flags.FLAGS.remove_flag_values(("host", "port"))
    board = program.TensorBoard(default.get_plugins())
    try:
        server_ingester.get_server_binary()
        is_fast = True
    except server_ingester.NoDataServerError:  # There are none for some processors.
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
            f"cannot listen at --host={host}, --port={port or 'default'} "
            f"({' '.join(error.msg.split())}): choose another --port, or 0 for any"
        ) from error


def split_workdirs(text: str) -> list[pathlib.Path]:
    """Returns the workdirs that a value of the flag names.

    A comma separates two of them. It is a part of the name if there is such a
    directory, as a sweep makes them.

    Raises:
        ValueError: If one is no local path, or one of several is not there.
    """
    is_one = os.path.isdir(os.path.expanduser(text))
    parts = [text] if is_one else [part for part in text.split(",") if part]
    try:
        paths = [pathlib.Path(path_flags.parse(part)) for part in parts or [text]]
    except ValueError as error:
        raise ValueError(f"--workdir={text}: {error}") from error
    missing = [path for path in paths if not path.is_dir()]
    if missing and len(paths) > 1:
        raise ValueError(
            f"--workdir={text} names several directories, and {missing[0]} is not "
            "there: correct it, or give a name that has a comma by a --workdir of its "
            "own"
        )
    return paths


def names_of(workdirs: Sequence[pathlib.Path]) -> dict[str, pathlib.Path]:
    """Returns workdirs by the shortest names that tell them apart.

    Raises:
        ValueError: If one neither is a run nor holds runs, as that of a sweep does.

    Example:
        >>> from unittest import mock
        >>> with mock.patch.object(pathlib.Path, "exists", return_value=True):
        ...     list(names_of([pathlib.Path("runs/a"), pathlib.Path("old/a")]))
        ['runs.a', 'old.a']
    """
    paths = list(dict.fromkeys(path.absolute() for path in workdirs))
    for path in paths:
        is_run = (path / "config.json").exists()
        if not is_run and not any(path.glob("*/config.json")):
            raise ValueError(
                f"--workdir={path} holds no run (config.json is missing): give the "
                "--workdir of a trainer.train or a trainer.sweep"
            )
    num_parts = 1
    while True:
        # A slash would lead into a directory of a run.
        names = [".".join(path.parts[-num_parts:]) for path in paths]
        if len(set(names)) == len(paths):
            return dict(zip(names, paths, strict=True))
        num_parts += 1


@contextlib.contextmanager
def as_one_directory(workdirs: Sequence[pathlib.Path]) -> Iterator[str]:
    """Yields a directory with all runs; of several a temporary one, by their names."""
    named = names_of(workdirs)
    if len(named) == 1:
        yield str(*named.values())
        return
    prefix = files.scratch_prefix(tempfile.gettempdir(), os.getpid())
    with tempfile.TemporaryDirectory(prefix=prefix) as directory:
        for name, path in named.items():
            os.symlink(path, os.path.join(directory, name), target_is_directory=True)
        yield directory
