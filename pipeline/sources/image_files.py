"""Image files, wherever they lie: in a directory, by a pattern, or by a list of them.

    DIR                 every image file in it and below
    DIR/**/*.png        those that match: ** is any number of directories
    NAME.txt            one path a line, from the directory of the list, or absolute

A key is the path from the root, with slashes. The root is the directory; of a pattern,
what precedes its first *, ? or [; of a list, its own directory, or the deepest one that
has all its files if some lie elsewhere.
"""

import collections
import dataclasses
import errno
import fnmatch
import os
import pathlib
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeGuard

import numpy as np
from absl import logging

from pipeline import contract, rgb
from pipeline.images import RejectedImageError
from pipeline.sources import archives, labels

# Of what `rgb.FORMATS` are in. The content of a file decides how it is decoded.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif"),
)

# In place of the size: of a file that is not there, or has a name that is no key.
_MISSING, _BAD_NAME = -1, -2

# Bytes that are not UTF-8 come as surrogates.
_UNFIT_FOR_KEYS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LEADS_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Files that should be images.

    Attributes:
        root: Absolute path of what their keys are relative to.
        found: Each key, in no order, with its location: (size in bytes, modification
            time in ns); a negative size if there is nothing to be read. They are
            looked for while they are asked for, once.
    """

    root: str
    found: Iterator[tuple[str, tuple[int, int]]]


class ImageFileReader:
    """Reads an image file by its key, as RGB pixels."""

    def __init__(self, root: str) -> None:
        """Keeps where the files are."""
        self._files = archives.FolderReader(root)

    def prefetch(self, locations: np.ndarray) -> None:
        """See `archives.FolderReader`."""
        self._files.prefetch(locations)

    def read(self, key: str, location: np.ndarray) -> np.ndarray:
        """Returns `[height, width, 3]` uint8; see `Reader.read`."""
        if location[0] == _BAD_NAME:
            raise RejectedImageError(
                "name", "not UTF-8, or has control characters: rename the file"
            )
        return rgb.decode_as_rgb(self._files.read(key, location))


def find_images(path: str) -> ImageFiles:
    """Returns the image files that --input names.

    Args:
        path: A directory, a pattern, or a list with the suffix .txt.

    Raises:
        DatasetError: If it is none of these; while they are asked for, if there is
            no image, or something on the way to them cannot be read.
    """
    if os.path.isdir(path):
        return ImageFiles(os.path.realpath(path), _in_directory(path, path, ["**"]))
    if os.path.isfile(path):
        if not path.lower().endswith(".txt"):
            raise contract.DatasetError(f"--input={path} is a file: {_allowed()}")
        return _in_list(pathlib.Path(path).absolute())
    parts = path.split("/")
    is_magic = [bool(re.search(r"[*?[]", part)) for part in parts]
    if not any(is_magic):
        raise contract.DatasetError(f"--input={path} does not exist: {_allowed()}")
    first = is_magic.index(True)
    # A leading slash makes an empty part.
    root = "/".join(parts[:first]) or ("/" if first else ".")
    if not os.path.isdir(root):
        raise contract.DatasetError(
            f"--input={path}: there is no directory {root}: {_allowed()}"
        )
    pattern = [part for part in parts[first:] if part not in ("", ".")]
    return ImageFiles(os.path.realpath(root), _in_directory(path, root, pattern))


def _in_directory(
    path: str, root: str, pattern: Sequence[str]
) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yields the images below `root` that match, and says what else does."""
    skipped: collections.Counter[str] = collections.Counter()
    images = _walk_images(root, pattern, skipped)
    has_images = False
    for found in _as_keys(images):
        has_images = True
        yield found
    counts = [f"{count} {kind}" for kind, count in skipped.most_common(10) if count]
    kinds = ", ".join(counts)
    if not has_images:
        raise contract.DatasetError(
            f"--input={path} has no image ({', '.join(SUFFIXES)})"
            f"{', only ' if kinds else ''}{kinds}: {_allowed()}"
        )
    if counts:
        logging.info("skipped %d, no images: %s", skipped.total(), kinds)


def _walk_images(
    root: str, pattern: Sequence[str], skipped: collections.Counter[str]
) -> Iterator[tuple[str, os.stat_result | None]]:
    """Yields what `_walk` does, but for files that are no images."""
    for name, info in _walk(root, pattern, skipped):
        suffix = os.path.splitext(name)[1].lower()
        if suffix in SUFFIXES and (info is None or _is_there(info)):
            yield name, info
        else:
            skipped[suffix or "without a suffix"] += 1


def _walk(
    root: str, pattern: Sequence[str], skipped: collections.Counter[str]
) -> Iterator[tuple[str, os.stat_result | None]]:
    """Yields the path from the root of every file that matches, and its status.

    The status of a link that leads nowhere is None. Links are followed, but not to a
    directory that they are in.

    Args:
        root: Where to begin.
        pattern: A part for every level of directories, the last for the files.
        skipped: Counts what is not looked at.
    """
    # A directory's path, and which directories it and those above it are.
    pending: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ())]
    while pending:
        prefix, above = pending.pop()
        folder = os.path.join(root, prefix)
        try:
            status = os.stat(folder)
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                skipped["links to a directory that they are in"] += 1
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = prefix + entry.name
                    parts = name.split("/")
                    if entry.name.startswith("."):
                        skipped["hidden"] += _matches(parts, pattern)
                        continue
                    info = _status(entry.path)
                    if info is not None and stat.S_ISDIR(info.st_mode):
                        if _leads_to_match(parts, pattern):
                            pending.append((f"{name}/", (*above, identity)))
                    elif _matches(parts, pattern):
                        yield name, info
        except OSError as error:
            raise contract.DatasetError(
                f"cannot read {folder}: {error.strerror}: make it readable, or give "
                "a list of the images, NAME.txt, as --input"
            ) from error


def _leads_to_match(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Returns whether a path below this one may match."""
    for part, its_pattern in zip(parts, pattern, strict=False):
        if its_pattern == "**":
            return True
        if not fnmatch.fnmatchcase(part, its_pattern):
            return False
    return len(parts) < len(pattern)


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern or not parts:
        return not parts and set(pattern) <= {"**"}
    if pattern[0] == "**":
        return _matches(parts, pattern[1:]) or _matches(parts[1:], pattern)
    is_first = fnmatch.fnmatchcase(parts[0], pattern[0])
    return is_first and _matches(parts[1:], pattern[1:])


def _in_list(path: pathlib.Path) -> ImageFiles:
    """Returns the images that a list names."""
    lines = [line for line in labels.read_lines(path) if line.strip()]
    if not lines:
        raise contract.DatasetError(f"--input={path} is empty: {_allowed()}")
    folder = os.path.normpath(path.parent)
    paths = {os.path.normpath(os.path.join(folder, line)) for line in lines}
    if len(paths) < len(lines):
        number = len(lines) - len(paths)
        logging.info("%d lines of %s name a file again: used once", number, path)
    root = folder
    if not all(name.startswith(_as_prefix(folder)) for name in paths):
        root = os.path.commonpath([os.path.dirname(name) for name in paths])
        logging.info("%s lists files outside of its directory: root %s", path, root)
    prefix = _as_prefix(root)
    statuses = [(name.removeprefix(prefix), _status(name)) for name in paths]
    if not any(_is_there(info) for _, info in statuses):
        raise contract.DatasetError(
            f"none of the {len(paths)} files that {path} lists is there, the first is "
            f"{os.path.join(folder, lines[0])!r}: a line is the path of an image, from "
            f"{folder} or absolute"
        )
    return ImageFiles(root, _as_keys(statuses))


def _as_keys(
    files: Iterable[tuple[str, os.stat_result | None]],
) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yields a key and a location for each path from the root and its status.

    A path that is unfit for a key is written in another way, and the file rejected.
    """
    unfit: set[str] = set()
    lookalikes: set[str] = set()
    for name, info in files:
        if _UNFIT_FOR_KEYS.search(name):
            as_text = _UNFIT_FOR_KEYS.sub(lambda c: f"\\x{ord(c[0]) & 255:02x}", name)
            unfit.add(as_text)
            continue
        if "\\x" in name:
            lookalikes.add(name)
        if _is_there(info):
            yield name, (info.st_size, info.st_mtime_ns)
        else:
            yield name, (_MISSING, 0)
    # A file may really have the name under which another is rejected.
    for key in sorted(unfit - lookalikes):
        yield key, (_BAD_NAME, 0)


def _is_there(info: os.stat_result | None) -> TypeGuard[os.stat_result]:
    return info is not None and stat.S_ISREG(info.st_mode)


def _status(path: str) -> os.stat_result | None:
    """Returns the status of a file, or None if there is none."""
    try:
        return os.stat(path)
    except ValueError:
        return None  # The name has a null character.
    except OSError as error:
        if error.errno in _LEADS_NOWHERE:
            return None
        raise contract.DatasetError(f"cannot read {path}: {error.strerror}") from error


def _as_prefix(folder: str) -> str:
    return folder if folder.endswith("/") else f"{folder}/"


def _allowed() -> str:
    return (
        "give a directory of images, a pattern such as 'DIR/**/*.png', or a list of "
        "images, NAME.txt"
    )
