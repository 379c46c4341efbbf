"""Exports a trained run as a SavedModel and Keras files, independent of this package.

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

# Description of an export, in a folder that TensorFlow leaves to such extras.
DESCRIPTION = "assets.extra/export.json"
# Files that TensorFlow and `_write` write, and files that a Mac adds.
_FILES = re.compile(
    r"saved_model\.pb|fingerprint\.pb|variables/variables\.[\w-]+|\w+\.keras|"
    rf"{re.escape(DESCRIPTION)}|(.*/)?\.DS_Store"
)


def check_output(output: pathlib.Path, overwrite: bool) -> None:
    """Checks that an export can be written to the output directory.

    Raises:
        ValueError: If the directory holds something that may not be replaced.
    """
    if not output.exists():
        return
    if not overwrite:
        raise ValueError(
            f"output={output} exists: give another directory, or `overwrite=True` to "
            "replace it"
        )
    if not (output / DESCRIPTION).exists():
        raise ValueError(
            f"output={output} exists and is not an export, so `overwrite=True` does "
            "not replace it: give another directory"
        )
    foreign = _foreign(output.resolve())
    if foreign:
        raise ValueError(
            f"output={output} has files that do not belong to an export, which "
            f"`overwrite=True` would remove ({', '.join(foreign[:3])}): move them "
            "away, or give another `output`"
        )


def _foreign(output: pathlib.Path) -> list[str]:
    """Returns the names of files and directories that are no part of an export."""
    directories = {"assets", "assets.extra", "variables"}
    strays = []
    for path in output.rglob("*"):
        name = path.relative_to(output).as_posix()
        is_directory = path.is_dir() and not path.is_symlink()
        if not (name in directories if is_directory else _FILES.fullmatch(name)):
            strays.append(name)
    return sorted(strays)


def save(run: TrainedRun, output: pathlib.Path, *, overwrite: bool = False) -> None:
    """Writes the SavedModel, the Keras models and their description, atomically.

    Args:
        run: Run from `trained.load`.
        output: Directory to create.
        overwrite: Whether to replace an existing export.

    Raises:
        ValueError: If `check_output` refuses the directory, or the run cannot be
            exported.
        OSError: If the export cannot be written.
    """
    check_output(output, overwrite)
    model = ExportedModel(run)
    # Replace the target of a symbolic link, and keep the link.
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
    """Returns the system error that the text of a TensorFlow error names."""
    for number in limits.DISK_ERRORS:
        if os.strerror(number) in error.message:
            return OSError(number, os.strerror(number), str(output))
    return OSError(f"cannot write {output}: {error.message}")


def _replace(output: pathlib.Path, by: pathlib.Path) -> None:
    """Renames `by` to `output`, and removes the old export once `by` is on the disk.

    Between the two renames, the old export has another name and no export has the name
    `output`. Syncing the new export first keeps this time short.
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
