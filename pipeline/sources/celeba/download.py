"""Finds the files of a CelebA download: its partition, lists and images."""

import dataclasses
import os
import re
from collections.abc import Mapping

from absl import logging

from pipeline import contract
from pipeline.storage import contents, paths

ZIP_NAME = "img_align_celeba.zip"
ZIP_BYTES = 1_443_490_838
FOLDER_NAME = "img_align_celeba"
PARTITION_NAME = "list_eval_partition.txt"
ATTRIBUTES_NAME = "list_attr_celeba.txt"
LANDMARKS_NAME = "list_landmarks_align_celeba.txt"

_SUBDIRECTORIES = ("img", "eval", "anno")
_ZIP_NAMES = (ZIP_NAME, "img_align_celeba_png.zip")
_FOLDER_NAMES = (FOLDER_NAME, "img_align_celeba_png")
# Remedies for files that are not read, by suffix or name.
_REMEDIES: Mapping[str, str] = {
    ".arrow": "download the Parquet files, because Arrow files are not supported",
    "metadata.csv": "give source=folder for folders of images without attributes",
    "metadata.jsonl": "give source=folder for folders of images without attributes",
    ".001": "unpack the 7z archive of img_align_celeba_png there",
    ".7z": "unpack the 7z archive of img_align_celeba_png there",
}


@dataclasses.dataclass(frozen=True)
class Download:
    """Files and folders in a directory and its official subdirectories.

    Attributes:
        files: Path of each file, by its name in lower case.
        folders: Path of each directory, by its name in lower case.
    """

    files: Mapping[str, str]
    folders: Mapping[str, str]

    def find_list(self, name: str) -> str | None:
        """Returns the path of a list, in text or CSV, or None if it is missing."""
        return self.files.get(name.lower()) or self.files.get(_as_csv(name).lower())

    def find_images(self) -> str:
        """Returns the path of the zip or folder of images; empty if there is none."""
        zips = [self.files[name] for name in _ZIP_NAMES if name in self.files]
        folders = [self.folders[name] for name in _FOLDER_NAMES if name in self.folders]
        return next(iter(zips + folders), "")

    def remedy(self) -> str:
        """Returns advice on the files that are not read, as text; empty if none."""
        kinds = {os.path.splitext(name)[1] for name in self.files}
        unread = (self.files.keys() | kinds) & _REMEDIES.keys()
        remedies = {_REMEDIES[kind] for kind in unread}
        return "".join(f"{text}; or " for text in sorted(remedies))


def find(input_dir: str) -> Download | None:
    """Returns the download in a directory or a subdirectory, if it has a partition.

    Raises:
        DatasetError: If several subdirectories have a partition.
    """
    download = _list(input_dir)
    if download.find_list(PARTITION_NAME):
        return download
    inner = {
        path: _list(path)
        for name, path in sorted(download.folders.items())
        if name not in (*_FOLDER_NAMES, *_SUBDIRECTORIES)
    }
    homes = [path for path, each in inner.items() if each.find_list(PARTITION_NAME)]
    if len(homes) > 1:
        raise contract.DatasetError(
            f"input={input_dir} has {PARTITION_NAME} or .csv in several directories "
            f"({', '.join(homes)}): give one of them as `input`"
        )
    if not homes:
        return None
    logging.info("CelebA is in %s", homes[0])
    return inner[homes[0]]


def no_directory(input_dir: str) -> contract.DatasetError:
    """Returns the error for a path that is no directory."""
    fault = "is a file" if paths.find(input_dir) else "does not exist"
    other = ""
    if re.search(r"[*?[]|\.txt$", input_dir.lower()):
        other = ", or `source=folder` for a pattern or a list of images"
    return contract.DatasetError(
        f"input={input_dir} {fault}: give the directory that has {ZIP_NAME} "
        f"and {PARTITION_NAME}{other}"
    )


def no_partition(input_dir: str) -> contract.DatasetError:
    """Returns the error for a directory without a partition."""
    download = _list(input_dir)
    inner = [download, *map(_list, download.folders.values())]
    remedy = "".join(sorted({each.remedy() for each in inner}))
    found = contents.find(input_dir)
    if not remedy and found.kind != "celeba" and found.kind in contents.SOURCES:
        return contract.DatasetError(
            f"input={input_dir} holds {found}, but no {PARTITION_NAME} of CelebA: give "
            f"`source={found.kind}`, because the default is source=celeba"
        )
    if found.kind in ("dataset", "unfinished", "run"):
        return contract.DatasetError(
            f"input={input_dir} is {found}, not a source of raw images: give the "
            "directory of the images"
        )
    return contract.DatasetError(
        f"input={input_dir} has no {PARTITION_NAME}: {remedy}put the official file "
        "(2,836,386 B in full) there, or in its subdirectory Eval, or Kaggle's "
        f"{_as_csv(PARTITION_NAME)}"
    )


def _list(path: str) -> Download:
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    pending = [path]
    while pending:
        folder = pending.pop(0)
        for entry in sorted(paths.list_directory(folder), key=lambda e: e.name):
            name, its_path = entry.name.lower(), paths.join(folder, entry.name)
            (folders if entry.is_directory else files).setdefault(name, its_path)
            if folder == path and entry.is_directory and name in _SUBDIRECTORIES:
                pending.append(its_path)
    return Download(files, folders)


def _as_csv(name: str) -> str:
    return name.removesuffix("txt") + "csv"
