"""Finds files below a directory whose paths match a pattern.

A pattern has a part for every level of directories, and a last part for the files. The
wildcards *, ? and [a-z] match characters of a name; ** matches any number of
directories. Hidden files and the `byproducts` of other programs do not match.
"""

import collections
import errno
import fnmatch
import os
import stat
from collections.abc import Iterator, Sequence

from pipeline import contract
from pipeline.sources.listing import byproducts
from pipeline.storage import paths

# Size in bytes, modification time in ns.
Location = tuple[int, int]

_LEADS_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


def walk(
    root: str, pattern: Sequence[str], skipped: collections.Counter[str]
) -> Iterator[tuple[str, Location | None]]:
    """Yields the path from the root of every file that matches, and its location.

    A broken link has the location None. The walk follows links, except a link to a
    directory that contains the link itself.

    Args:
        root: Directory where the walk begins, local or in a bucket.
        pattern: Parts of the pattern.
        skipped: Counter that receives the number of skipped files of each kind.

    Raises:
        DatasetError: If a directory or a file on the way cannot be read.
    """
    if paths.is_url(root):
        return _walk_bucket(root, pattern, skipped)
    return _walk_local(root, pattern, skipped)


def _walk_bucket(
    root: str, pattern: Sequence[str], skipped: collections.Counter[str]
) -> Iterator[tuple[str, Location]]:
    # List all files below the root: a request lists a thousand files at any depth.
    for entry in paths.walk(root):
        parts = entry.name.split("/")
        if not _matches(parts, pattern):
            continue
        if not all(parts):
            skipped["with a double slash"] += 1
        elif any(part.startswith(".") for part in parts):
            skipped["hidden"] += 1
        elif kind := byproducts.kind_of(parts, root):
            skipped[kind] += 1
        else:
            yield entry.name, (entry.num_bytes, entry.modified_ns)


def _walk_local(
    root: str, pattern: Sequence[str], skipped: collections.Counter[str]
) -> Iterator[tuple[str, Location | None]]:
    # Path of each directory still to read, with the identities of its parents.
    pending: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ())]
    while pending:
        prefix, above = pending.pop()
        folder = os.path.join(root, prefix)
        try:
            status = os.stat(folder)
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                skipped["linked to a directory above"] += 1
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = prefix + entry.name
                    parts = name.split("/")
                    if entry.name.startswith("."):
                        skipped["hidden"] += _matches(parts, pattern)
                        continue
                    # The names of the parents have been checked already.
                    kind = byproducts.kind_of(parts[-1:], folder)
                    if kind:
                        skipped[kind] += _num_files(entry, parts, pattern)
                        continue
                    info = _status(entry.path)
                    if info is not None and stat.S_ISDIR(info.st_mode):
                        if _leads_to_match(parts, pattern):
                            pending.append((f"{name}/", (*above, identity)))
                    elif not _matches(parts, pattern):
                        continue
                    elif info is None or _location(info):
                        yield name, _location(info)
                    else:
                        skipped["that cannot be read like a file"] += 1
        except OSError as error:
            raise contract.DatasetError(
                f"cannot read {folder}: {error.strerror}: make it readable, or give "
                "a list of the images, NAME.txt, as `input`"
            ) from error


def _num_files(
    entry: os.DirEntry[str], parts: Sequence[str], pattern: Sequence[str]
) -> int:
    """Returns the number of files that the walk skips with this entry."""
    if not entry.is_dir(follow_symlinks=False):
        return int(_matches(parts, pattern))
    if not _leads_to_match(parts, pattern):
        return 0
    # Unreadable directories, such as `lost+found`, count as empty.
    return sum(len(names) for _, _, names in os.walk(entry.path))


def locate(path: str) -> Location | None:
    """Returns the location of a file, or None if there is no file.

    Raises:
        DatasetError: If the status of the file cannot be read.
    """
    if paths.is_url(path):
        entry = paths.find(path)
        return entry and (entry.num_bytes, entry.modified_ns)
    return _location(_status(path))


def _location(info: os.stat_result | None) -> Location | None:
    if info is None or not stat.S_ISREG(info.st_mode):
        return None
    return info.st_size, info.st_mtime_ns


def _leads_to_match(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Returns whether a path below this one may match the pattern."""
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


def _status(path: str) -> os.stat_result | None:
    """Returns the status of a local file, or None if there is no file."""
    try:
        return os.stat(path)
    except ValueError:
        return None  # The name has a null character.
    except OSError as error:
        if error.errno in _LEADS_NOWHERE:
            return None
        raise contract.DatasetError(f"cannot read {path}: {error.strerror}") from error
