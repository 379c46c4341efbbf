"""A trained run as files that need nothing of this package: a SavedModel, and Keras's.

`exported_model` describes the signatures.
"""

import os
import pathlib
import re
import shutil

import tensorflow as tf

from pipeline.process import limits
from pipeline.storage import files
from trainer.runs.trained import TrainedRun
from trainer.serving.exported_model import ExportedModel
from trainer.system import atomic_files

# What an export says of itself, where TensorFlow leaves room for it.
DESCRIPTION = "assets.extra/export.json"
# What TensorFlow and `_write` write; and what a Mac adds.
_FILES = re.compile(
    r"saved_model\.pb|fingerprint\.pb|variables/variables\.[\w-]+|\w+\.keras|"
    rf"{re.escape(DESCRIPTION)}|(.*/)?\.DS_Store"
)


def check_output(output: pathlib.Path, overwrite: bool) -> None:
    """Checks that an export can be written.

    Raises:
        ValueError: If something is there that may not be replaced.
    """
    if not output.exists():
        return
    if not overwrite:
        raise ValueError(
            f"--output={output} exists: give another, or --overwrite to replace it"
        )
    if not (output / DESCRIPTION).exists():
        raise ValueError(
            f"--output={output} exists and is no export, so --overwrite does not "
            "replace it: give another"
        )
    foreign = _foreign(output.resolve())
    if foreign:
        raise ValueError(
            f"--output={output} has {', '.join(foreign[:3])}, which no export has, and "
            "--overwrite would remove it: move it away, or give another --output"
        )


def _foreign(output: pathlib.Path) -> list[str]:
    """Returns what a directory has besides an export, by name."""
    directories = {"assets", "assets.extra", "variables"}
    strays = []
    for path in output.rglob("*"):
        name = path.relative_to(output).as_posix()
        is_directory = path.is_dir() and not path.is_symlink()
        if not (name in directories if is_directory else _FILES.fullmatch(name)):
            strays.append(name)
    return sorted(strays)


def save(run: TrainedRun, output: pathlib.Path, *, overwrite: bool = False) -> None:
    """Writes the SavedModel, the Keras models, and what they are, whole or not at all.

    Args:
        run: From `trained.load`.
        output: Directory that is made.
        overwrite: Whether an export that is there is replaced.

    Raises:
        ValueError: As `check_output`, or if the run cannot be exported.
        OSError: If it cannot be written.
    """
    check_output(output, overwrite)
    model = ExportedModel(run)
    # A link stays, and what it leads to is replaced.
    output = output.resolve()
    temporary = atomic_files.temporary_path(output)
    files.discard(temporary)
    files.make_directory(temporary)
    try:
        with files.naming(output):
            _write(model, temporary)
        _replace(output, temporary)
    except tf.errors.OpError as error:
        raise _as_os_error(error, output) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _as_os_error(error: tf.errors.OpError, output: pathlib.Path) -> OSError:
    """Returns the error of the system that TensorFlow's tells of at its end."""
    for number in limits.DISK_ERRORS:
        if os.strerror(number) in error.message:
            return OSError(number, os.strerror(number), str(output))
    return OSError(f"cannot write {output}: {error.message}")


def _replace(output: pathlib.Path, by: pathlib.Path) -> None:
    """Renames `by`; what was there is removed once that is on the disk.

    Between two renames the old export has another name, and no export has its name. The
    new one is synced before, so that this time is short.
    """
    files.sync(by)
    old = output.with_name(f".{output.name}.old")
    if output.exists():
        files.discard(old)
        output.rename(old)
    files.put(by, output)
    shutil.rmtree(old, ignore_errors=True)


def _write(model: ExportedModel, directory: pathlib.Path) -> None:
    saved = tf.Module()
    saved.weights = [
        variable.value
        for part in model.keras_models().values()
        for variable in part.variables
    ]
    tf.saved_model.save(saved, str(directory), signatures=model.signatures())
    for name, part in model.keras_models().items():
        part.save(directory / f"{name}.keras")
    path = directory / DESCRIPTION
    path.parent.mkdir()
    path.write_text(model.description + "\n", encoding="utf-8")
