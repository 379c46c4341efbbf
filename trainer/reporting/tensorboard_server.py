"""Starts TensorBoard on the directories of runs."""

import contextlib
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator, Sequence

from absl import flags

from pipeline.storage import files
from trainer.reporting import workdirs
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


@contextlib.contextmanager
def as_one_directory(paths: Sequence[pathlib.Path]) -> Iterator[str]:
    """Yields one directory with all runs, and with the points made for the projector.

    Several workdirs get a temporary directory, and so does a workdir with points.
    """
    named = workdirs.names_of(paths)
    points = {name: projector_points.find(path) for name, path in named.items()}
    if len(named) == 1 and not any(points.values()):
        yield str(*named.values())
        return
    prefix = files.scratch_prefix(tempfile.gettempdir(), os.getpid())
    with tempfile.TemporaryDirectory(prefix=prefix) as temporary:
        root = pathlib.Path(temporary)
        for name, path in named.items():
            if not workdirs.is_run(path):
                # A sweep, which may get more runs.
                (root / name).symlink_to(path, target_is_directory=True)
                continue
            place = root / name if len(named) > 1 else root
            place.mkdir(exist_ok=True)
            # Without the directory `generated`, which may hold events of earlier
            # versions. The trainer may create these two later.
            for part in _EVENTS:
                (place / part).symlink_to(path / part, target_is_directory=True)
        folders = {
            _name_of(folder, name if len(named) > 1 else ""): folder
            for name, found in points.items()
            for folder in found
        }
        if folders:
            projector_points.gather(root, folders)
        yield temporary


def _name_of(folder: pathlib.Path, name: str) -> str:
    """Returns the text before the name of a folder's points.

    Example:
        >>> folder = pathlib.Path("sweep/latent_dim=2/generated/projector-test")
        >>> _name_of(folder, ""), _name_of(folder, "sweep")
        ('latent_dim=2: ', 'sweep: latent_dim=2: ')
    """
    run = folder.parents[1].name
    return "".join(f"{part}: " for part in dict.fromkeys([name, run]) if part)
