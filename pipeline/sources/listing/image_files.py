"""Finds image files in a directory, by a pattern, or from a list of paths.

    DIR                 every image file in the directory and below
    DIR/**/*.png        files that match; ** is any number of directories
    NAME.txt            one path a line, absolute or from the directory of the list

Each form may be a URL in a bucket. A list in a bucket names files in its own directory
or below.

A key is the path of the file from the root, with slashes. The root depends on the form:

    a directory         the directory itself
    a pattern           the directories before the first part with *, ? or [
    a list              the directory of the list, or, if some files lie elsewhere, the
                        deepest directory that contains all files
"""

import collections
import concurrent.futures
import dataclasses
import os
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np
from absl import logging

from pipeline import contract
from pipeline.images import rgb
from pipeline.images.squares import RejectedImageError
from pipeline.process import wording
from pipeline.sources import text_files
from pipeline.sources.listing import byproducts, patterns
from pipeline.sources.listing.folder_reader import FolderReader
from pipeline.sources.listing.patterns import Location
from pipeline.storage import contents, path_resolution, paths

# Suffixes of files in `rgb.FORMATS`. The content of a file decides how it is decoded.
SUFFIXES = contents.IMAGE_SUFFIXES

# Sizes that stand for a missing file, and for a file whose name is unfit as a key.
_MISSING, _BAD_NAME = -1, -2

# In a file name, Python decodes bytes that are not UTF-8 as surrogates.
_UNFIT_FOR_KEYS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Threads that look for the files of a list in a bucket.
_NUM_THREADS = 32


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Files that should be images.

    Attributes:
        root: Absolute path or URL that the keys are relative to.
        images: Each key with its location (size in bytes, modification time in ns), in
            no order. The size is negative if the file cannot be read. The iterator
            searches while it is read, and can be read once.
    """

    root: str
    images: Iterator[tuple[str, Location]]


class ImageFileReader:
    """Reads an image file by its key, as RGB pixels."""

    def __init__(self, root: str) -> None:
        """Opens nothing yet; `root` is the path or URL that keys are relative to."""
        self._files = FolderReader(root)

    def prefetch(self, keys: Sequence[str], locations: np.ndarray) -> None:
        """Starts to read files of a bucket ahead; see `FolderReader.prefetch`."""
        self._files.prefetch(keys, locations)

    def read(self, key: str, location: np.ndarray) -> np.ndarray:
        """Returns `[height, width, 3]` uint8; see `Reader.read`."""
        if location[0] == _BAD_NAME:
            raise RejectedImageError(
                "name", "not UTF-8, or has control characters: rename the file"
            )
        return rgb.decode_as_rgb(self._files.read(key, location))


def find_images(path: str) -> ImageFiles:
    """Returns the image files that `input` names.

    Args:
        path: A directory, a pattern, or a list with the suffix .txt.

    Raises:
        DatasetError: If `path` has another form, or is a list that cannot be read or
            names no existing file. For a directory or pattern, reading `images` raises
            the error if there is no image, or a directory or file cannot be read.
    """
    if paths.is_directory(path):
        root = path_resolution.resolve(path)
        return ImageFiles(root, _in_directory(path, path, ["**"]))
    if paths.find(path) is not None:
        if not path.lower().endswith(".txt"):
            raise contract.DatasetError(f"input={path} is a file: {_allowed()}")
        return _in_list(path if paths.is_url(path) else os.path.abspath(path))
    parts = path.split("/")
    is_magic = [bool(re.search(r"[*?[]", part)) for part in parts]
    if not any(is_magic):
        raise contract.DatasetError(f"input={path} does not exist: {_allowed()}")
    first = is_magic.index(True)
    # A leading slash makes an empty part.
    root = "/".join(parts[:first]) or ("/" if first else ".")
    if not paths.is_directory(root):
        raise contract.DatasetError(
            f"input={path}: there is no directory {root}: {_allowed()}"
        )
    pattern = [part for part in parts[first:] if part not in ("", ".")]
    return ImageFiles(path_resolution.resolve(root), _in_directory(path, root, pattern))


def _in_directory(
    path: str, root: str, pattern: Sequence[str]
) -> Iterator[tuple[str, Location]]:
    """Yields the images below `root` that match, and logs counts of other files."""
    skipped: collections.Counter[str] = collections.Counter()
    images = _walk_images(root, pattern, skipped)
    has_images = False
    for image in _as_keys(images):
        has_images = True
        yield image
    counts = [f"{count} {kind}" for kind, count in skipped.most_common(10) if count]
    kinds = ", ".join(counts)
    if not has_images:
        other = contents.other_source(path, "folder")
        raise contract.DatasetError(
            f"input={path} has no image ({', '.join(SUFFIXES)})"
            f"{', only ' if kinds else ''}{kinds}: {other}{_allowed()}"
        )
    if counts:
        number = wording.counted(skipped.total(), "file")
        logging.info("skipped %s other than images: %s", number, kinds)


def _walk_images(
    root: str, pattern: Sequence[str], skipped: collections.Counter[str]
) -> Iterator[tuple[str, Location | None]]:
    """Yields the files of `patterns.walk` that are images, and not our own pictures."""
    own = byproducts.OwnPictures(root)
    for name, location in patterns.walk(root, pattern, skipped):
        suffix = os.path.splitext(name)[1].lower()
        if suffix not in SUFFIXES:
            # Count shards as one kind: each suffix has the number of its shard.
            suffix = re.sub(r"^\.tfrecord-\d.*", ".tfrecord", suffix)
            skipped[suffix or "without a suffix"] += 1
        elif kind := own.kind_of(name):
            skipped[kind] += 1
        else:
            yield name, location


def _in_list(path: str) -> ImageFiles:
    """Returns the images named by the list at an absolute path."""
    lines = [line for line in text_files.read_lines(path) if line.strip()]
    if not lines:
        raise contract.DatasetError(f"input={path} is empty: {_allowed()}")
    folder = os.path.dirname(path)
    location_of = _located_lines(path, folder, lines)
    if len(location_of) < len(lines):
        number = wording.counted(len(lines) - len(location_of), "repeated line")
        logging.info("skipped %s of %s", number, path)
    root = folder
    if not all(name.startswith(_as_prefix(folder)) for name in location_of):
        root = os.path.commonpath([os.path.dirname(name) for name in location_of])
        logging.info(
            "%s lists files outside its directory: keys are relative to %s", path, root
        )
    prefix = _as_prefix(root)
    located = [
        (name.removeprefix(prefix), location) for name, location in location_of.items()
    ]
    if all(location is None for _, location in located):
        first = _listed_path(path, folder, lines[0])
        raise contract.DatasetError(
            f"{path} lists only missing files ({len(location_of)}), such as {first!r}: "
            "give each image by its absolute path, or by its path from "
            f"{folder}"
        )
    return ImageFiles(root, _as_keys(located))


def _located_lines(
    path: str, folder: str, lines: Sequence[str]
) -> dict[str, Location | None]:
    """Returns the path and the location of each listed file, None if it is missing.

    A line that names no file is read again without white space and quotes around the
    path, and with slashes in place of backslashes.
    """
    path_of = {line: _listed_path(path, folder, line) for line in lines}
    location_of = dict(_located(set(path_of.values())))
    plain_of = {
        line: _listed_path(path, folder, plain)
        for line, name in path_of.items()
        if location_of[name] is None
        and (plain := text_files.unquoted(line).replace("\\", "/")) not in ("", line)
    }
    plain_locations = dict(_located(set(plain_of.values())))
    for line, name in plain_of.items():
        if plain_locations[name] is not None:
            location_of.pop(path_of[line], None)
            location_of[name] = plain_locations[name]
    return location_of


def _listed_path(path: str, folder: str, line: str) -> str:
    """Returns the path of the file that a line of a list names."""
    if paths.is_url(path):
        rest = line.removeprefix(f"{folder}/")
        name = posixpath.normpath(rest)
        if not paths.is_url(rest) and not f"{name}/".startswith(("/", "../")):
            return f"{folder}/{name}"
    elif not paths.is_url(line):
        return os.path.normpath(os.path.join(folder, os.path.expanduser(line)))
    raise contract.DatasetError(
        f"{path} lists {line!r:.200}: files in a bucket need a list in the same "
        "bucket, and a list in a bucket names only files in its directory or below"
    )


def _located(file_paths: Collection[str]) -> list[tuple[str, Location | None]]:
    """Returns each path with the location of its file, None if the file is missing."""
    if not any(map(paths.is_url, file_paths)):
        return [(path, patterns.locate(path)) for path in file_paths]
    with concurrent.futures.ThreadPoolExecutor(_NUM_THREADS) as pool:
        return list(zip(file_paths, pool.map(patterns.locate, file_paths), strict=True))


def _as_keys(
    files: Iterable[tuple[str, Location | None]],
) -> Iterator[tuple[str, Location]]:
    """Yields the key and the location of each file, given its path from the root.

    A path that is unfit as a key is yielded with escapes, and its file is rejected.
    """
    unfit: set[str] = set()
    lookalikes: set[str] = set()
    for name, location in files:
        if _UNFIT_FOR_KEYS.search(name):
            as_text = _UNFIT_FOR_KEYS.sub(lambda c: f"\\x{ord(c[0]) & 255:02x}", name)
            unfit.add(as_text)
            continue
        if "\\x" in name:
            lookalikes.add(name)
        yield name, location or (_MISSING, 0)
    # Another file may really have the escaped name: do not yield that key twice.
    for key in sorted(unfit - lookalikes):
        yield key, (_BAD_NAME, 0)


def _as_prefix(folder: str) -> str:
    return folder if folder.endswith("/") else f"{folder}/"


def _allowed() -> str:
    return (
        "give a directory of images, a pattern such as 'DIR/**/*.png', or a list of "
        "images, NAME.txt"
    )
