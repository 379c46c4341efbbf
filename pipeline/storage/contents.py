"""Finds out what a path holds, to explain a path that was given by mistake.

A user may give raw images in place of a dataset, a dataset in place of a workdir, or a
directory above the right one.
"""

import dataclasses
import os
import re
from collections.abc import Iterator

from pipeline import contract
from pipeline.process import path_flags
from pipeline.storage import files, paths

# Suffixes of image files that `pipeline.images` decodes.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif"),
)

# Largest number of directories to search for the names of images.
_MAX_DIRECTORIES = 50
_NUM_NAMED = 3
_WRITTEN = "give a directory that pipeline.prepare wrote"

_DESCRIPTIONS = {
    "dataset": "a dataset",
    "unfinished": "an unfinished dataset",
    "datasets": "a directory of datasets",
    "run": "the workdir of a run",
    "runs": "a directory of runs",
    "export": "an exported model",
    "celeba": "CelebA's raw files",
    "mnist": "MNIST's raw files",
    "binarized_mnist": "the raw files of binarised MNIST",
    "tfds": "a data set of TensorFlow Datasets",
    "folder": "raw images",
    "file": "a file",
    "empty": "an empty directory",
    "other": "other files",
    "absent": "not there",
}
# Patterns of lower-case names that show a kind of contents, in the order of priority.
_SIGNS = {
    "dataset": re.escape(contract.MANIFEST_NAME),
    "unfinished": rf"{re.escape(files.PROGRESS_DIR)}|[^/]*\.tfrecord-\d+-of-\d+",
    "run": "dataset\\.json",
    "export": "saved_model\\.pb",
    "datasets": f"[^/]*/{re.escape(contract.MANIFEST_NAME)}",
    "runs": "[^/]*/dataset\\.json",
    "celeba": "(.*/)?(img_align_celeba|list_(eval_partition|attr_celeba))[^/]*",
    "mnist": "(.*/)?(mnist\\.npz|[^/]*-(images|labels)[-.]idx[13]-ubyte(\\.gz)?)",
    "binarized_mnist": ".*\\.amat",
    "tfds": "(.*/)?dataset_info\\.json",
    "folder": rf".*({'|'.join(map(re.escape, IMAGE_SUFFIXES))})",
}
# Values of `source`, and kinds of contents that they read.
SOURCES = ("celeba", "mnist", "binarized_mnist", "tfds", "folder")


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a path holds.

    Attributes:
        kind: A key of `_DESCRIPTIONS`.
        example: Name of a file or directory that shows the kind.
    """

    kind: str
    example: str = ""

    @property
    def is_raw(self) -> bool:
        """Whether the content is input of a source of `pipeline.prepare`."""
        return self.kind in SOURCES

    def __str__(self) -> str:
        """Describes the content, as in `raw images, such as cat/1.jpg`."""
        example = f", such as {self.example}"
        is_named = self.is_raw or self.kind == "other"
        return f"{_DESCRIPTIONS[self.kind]}{example if is_named else ''}"


def find(path: str) -> Contents:
    """Returns what a local path or a URL holds, judged by names alone.

    Raises:
        DatasetError: If the path or a directory below it cannot be read.
    """
    if not paths.is_directory(path):
        return Contents("file" if paths.find(path) else "absent")
    names = list(_walk(path))
    for kind, pattern in _SIGNS.items():
        found = (name for name in names if re.fullmatch(pattern, name.lower()))
        if name := next(found, None):
            return Contents(kind, name)
    if not names:
        return Contents("empty")
    return Contents("other", ", ".join(names[:_NUM_NAMED]))


def _walk(path: str) -> Iterator[str]:
    """Yields the paths of files and directories from `path`, the highest first."""
    pending = [""]
    for _ in range(_MAX_DIRECTORIES):
        if not pending:
            return
        prefix = pending.pop(0)
        folder = paths.join(path, prefix.rstrip("/")) if prefix else path
        entries = paths.list_directory(folder)
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name == files.PROGRESS_DIR and not prefix:
                yield entry.name
            if entry.name.startswith("."):
                continue
            yield f"{prefix}{entry.name}"
            if entry.is_directory:
                pending.append(f"{prefix}{entry.name}/")


def other_source(path: str, source: str) -> str:
    """Returns advice if the input of one source fits another source, else "".

    Args:
        path: Path that was given as input.
        source: Name of the source that does not read it.

    Raises:
        DatasetError: If the path or a directory below it cannot be read.
    """
    found = find(path)
    if not found.is_raw or found.kind == source:
        return ""
    return f"it holds {found}, so give `source={found.kind}`; or "


def prepare_text(path: str, contents: Contents) -> str:
    """Returns the command that makes a dataset of raw images."""
    return path_flags.command(
        "pipeline.prepare", source=contents.kind, input=path, output="DATASET"
    )


def missing_dataset_text(path: str, name: str = "dataset") -> str | None:
    """Returns the error for a path without a manifest, or None for an unfinished one.

    Args:
        path: Path that should be a dataset directory.
        name: Name of the argument that has the path.

    Raises:
        DatasetError: If the path or a directory below it cannot be read.
    """
    contents = find(path)
    if contents.kind in ("unfinished", "dataset"):
        return None
    if contents.kind == "absent":
        return f"the dataset {path} does not exist: {_WRITTEN} by `{name}`"
    text = f"{name}={path} is no dataset, but {contents}"
    if contents.is_raw:
        return (
            f"{text}: make a dataset of them with {prepare_text(path, contents)}, and "
            f"give `{name}=DATASET`"
        )
    if contents.kind == "datasets":
        inner = os.path.dirname(contents.example)
        return f"{name}={path} holds datasets: give one, such as {path}/{inner}"
    return f"{text}: {_WRITTEN}"
