"""Recognizes images that programs keep beside the user's photographs.

Photo libraries and network disks keep thumbnails, operating systems keep deleted files,
and our own commands draw pictures. Thumbnails and deleted files are recognized by the
names of their folders, and our pictures by other files that the same command writes.

A folder called `thumbnails`, `thumbs` or `originals` may be a class, so its images are
read.
"""

import fnmatch
import functools
import itertools
import re
from collections.abc import Mapping, Sequence

from pipeline import contract
from pipeline.storage import paths

# Kind of content, by the name of a folder or a file in lower case.
_KINDS: Mapping[str, str] = {
    **dict.fromkeys(
        ("@eadir", "synophoto_thumb_*", "synofile_thumb_*"),
        "in @eaDir (thumbnails of Synology)",
    ),
    "@__thumb": "in @__thumb (thumbnails of QNAP)",
    "appdata_oc*": "in appdata (thumbnails of Nextcloud)",
    "*.lrdata": "in lrdata (previews of Lightroom)",
    "__macosx": "in __MACOSX (sidecars of macOS)",
    **dict.fromkeys(
        ("$recycle.bin", "recycler", "#recycle", "@recycle", "files_trashbin")
        + ("lost+found", "lost.dir", "found.[0-9][0-9][0-9]", "network trash folder"),
        "deleted or lost",
    ),
    **dict.fromkeys(
        ("#snapshot", "~snapshot", "@recently-snapshot", "@sharesnap")
        + ("files_versions",),
        "in snapshots (older versions)",
    ),
    **dict.fromkeys(
        ("system volume information", "temporary items", "@tmp", "@sharebin"),
        "of the system",
    ),
}
# Libraries of Apple's programs, and the folders in them that hold photographs.
_LIBRARIES = (
    *("*.photoslibrary", "*.photolibrary", "*.migratedphotolibrary"),
    *("*.aplibrary", "*.migratedaplibrary"),
)
_ORIGINALS = ("originals", "masters")
_LIBRARY_KIND = "in a photo library (thumbnails and previews)"

_ANY_KIND = re.compile("|".join(map(fnmatch.translate, _KINDS)))
_LIBRARY = re.compile("|".join(map(fnmatch.translate, _LIBRARIES)))

# Folders of a workdir that hold pictures, and files that identify a workdir. The first
# tuple of files exists once a run has begun, the second once it has logged a step.
_RUN_FOLDERS = frozenset(("images", "generated", "eval"))
_RUN_FILES = (("config.json", "dataset.json", "lock"), ("config.json", "metrics.jsonl"))
# Pictures that `trainer.generate` draws, each with an npz file written beside it. The
# name of the npz ends where that of a picture goes on.
_GENERATED = re.compile(
    r"((?:reconstruct|posterior|sample|decode|interpolate|traverse|attributes|neighbours)"
    r"(?:-.+?)??)(?:-(?:draw|probability|samples|examples))?\.(?:png|gif)"
)


def kind_of(path: Sequence[str], root: str) -> str | None:
    """Returns the kind of byproduct in a folder or a file; None for photographs.

    Args:
        path: Names from the root down to the folder or file.
        root: Directory where the search began. The user chose it, so its name counts
            only if it is a photo library.

    Example:
        >>> kind_of(["anna", "@eaDir", "1.jpg"], "/photos/@eaDir")
        'in @eaDir (thumbnails of Synology)'
        >>> kind_of(["resources"], "/mine/Photos Library.photoslibrary")
        'in a photo library (thumbnails and previews)'
    """
    for name in map(str.lower, path):
        if _ANY_KIND.match(name):
            return next(
                kind
                for pattern, kind in _KINDS.items()
                if fnmatch.fnmatchcase(name, pattern)
            )
    names = map(str.lower, (root.rstrip("/").rpartition("/")[2], *path))
    for library, inner in itertools.pairwise(names):
        if _LIBRARY.match(library) and inner not in _ORIGINALS:
            return _LIBRARY_KIND
    return None


class OwnPictures:
    """Recognizes the pictures that our own commands draw."""

    def __init__(self, root: str) -> None:
        """Keeps the root of all paths: a directory, local or in a bucket."""
        self._root = root
        self._has = functools.cache(self._find)

    def kind_of(self, name: str) -> str | None:
        """Returns the kind of a picture that our commands drew, or None for others.

        Args:
            name: Path of the file, relative to the root.
        """
        *parents, file = name.split("/")
        if file == contract.OVERVIEW_NAME and self._has(
            contract.REJECTED_NAME, *parents
        ):
            return "drawn for a prepared dataset"
        if not _RUN_FOLDERS.isdisjoint(parents):
            for level, parent in enumerate(parents):
                if parent in _RUN_FOLDERS and self._is_run(parents[:level]):
                    return "drawn for a training run"
        drawn = _GENERATED.fullmatch(file)
        if drawn and self._has(f"{drawn[1]}.npz", *parents):
            return "drawn for a trained model"
        return None

    def _is_run(self, folder: Sequence[str]) -> bool:
        return any(
            all(self._has(name, *folder) for name in names) for names in _RUN_FILES
        )

    def _find(self, name: str, *folder: str) -> bool:
        return paths.find(paths.join(self._root, *folder, name)) is not None
