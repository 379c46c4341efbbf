"""Layouts: which folders of a source are its splits, and which are its classes.

The layout comes from the user's `split_folders`, or from the names of the folders: see
`layout_detection`.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

from pipeline import contract

# Value of `split_folders` that makes every folder a class.
NONE = "none"
# In that value, stands for any class folder that contains splits.
CLASS = "*"

# Levels of folders that `Folders` records: wrappers, split, images, class.
_NUM_LEVELS = 6

# Names of a folder and its parents, from the source's root downwards.
Path = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Folders that hold the splits and the classes of a source.

    Attributes:
        split_of: Split of each split folder, by the path of the folder. For a source
            without splits, the only entry maps the root to an empty name. One name in
            a path may be `CLASS`.
    """

    split_of: Mapping[Path, str]

    @property
    def has_splits(self) -> bool:
        """Whether the source has split folders."""
        return "" not in self.split_of.values()

    @functools.cached_property
    def _levels(self) -> list[int]:
        return sorted({len(path) for path in self.split_of})

    def place(self, key: str) -> tuple[str, str] | None:
        """Returns the split and the class of an image, or None if it is left out.

        The split or the class is empty if the image has no folder for it.

        Example:
            >>> Layout({("data", "Train"): "train"}).place("data/Train/cat/1.jpg")
            ('train', 'cat')
        """
        *parents, _ = key.split("/")
        for level in self._levels:
            path = tuple(parents[:level])
            if path in self.split_of:
                name = parents[level] if len(parents) > level else ""
                return self.split_of[path], name
            for place in self._class_places if len(path) == level else ():
                any_class = (*path[:place], CLASS, *path[place + 1 :])
                if any_class in self.split_of:
                    return self.split_of[any_class], path[place]
        return None

    def find_bare(self, folders: "Folders") -> str | None:
        """Returns the smallest key of an image in a split but in no class, if any."""
        paths = [path for path in self.split_of if CLASS not in path]
        return min(filter(None, map(folders.first_image, paths)), default=None)

    def find_classes(self, folders: "Folders") -> set[str]:
        """Returns the names of all folders that are classes."""
        names: set[str] = set()
        for path in self.split_of:
            if CLASS in path:
                place = path.index(CLASS)
                names |= {each[place] for each in folders.matching(path)}
            else:
                names.update(folders.names(path))
        return names

    @functools.cached_property
    def _class_places(self) -> list[int]:
        paths = [path for path in self.split_of if CLASS in path]
        return sorted({path.index(CLASS) for path in paths})

    def __str__(self) -> str:
        """Returns the split of each folder as text for a message.

        Example:
            >>> print(Layout({("Train",): "train", ("test1",): "test"}))
            Train is train, test1 is test
        """
        return ", ".join(
            f"{'/'.join(path)} is {split}"
            for name in contract.SPLITS
            for path, split in self.split_of.items()
            if split == name
        )


class Folders:
    """The folders of a source that contain images, directly or further below."""

    def __init__(self) -> None:
        """Starts without folders."""
        # Smallest key directly in each folder.
        self._first_of: dict[Path, str | None] = {}
        self._names: dict[Path, set[str]] = {}

    def add(self, key: str) -> None:
        """Adds the folder of an image and its parents."""
        *parents, _ = key.split("/")
        path = tuple(parents[:_NUM_LEVELS])
        if path not in self._first_of:
            self._first_of[path] = None
            for level, name in enumerate(path):
                self._names.setdefault(path[:level], set()).add(name)
        if len(parents) <= _NUM_LEVELS:
            self._first_of[path] = min(self._first_of[path] or key, key)

    def names(self, path: Path) -> list[str]:
        """Returns the sorted names of the folders directly in a folder."""
        return sorted(self._names.get(path, ()))

    def first_image(self, path: Path) -> str | None:
        """Returns the smallest key directly in a folder, if there is one."""
        return self._first_of.get(path)

    def matching(self, path: Path) -> list[Path]:
        """Returns the known folders that match a path; one name may be `CLASS`."""
        if CLASS not in path:
            return [path] if path in self else []
        place = path.index(CLASS)
        above, below = path[:place], path[place + 1 :]
        paths = [(*above, name, *below) for name in self.names(above)]
        return [each for each in paths if each in self]

    def __contains__(self, path: Path) -> bool:
        """Returns whether an image lies in a folder or further below."""
        return path in self._first_of or path in self._names


def parse(texts: Sequence[str]) -> Layout:
    """Returns the layout that `split_folders` describes.

    Args:
        texts: Pairs SPLIT=FOLDER, where FOLDER is a path from the root. One `*` in the
            path stands for any folder name and makes this folder a class. The single
            text `none` means a source without splits.

    Raises:
        DatasetError: If a text has another form, or a folder appears twice or lies
            inside another folder.

    Example:
        >>> parse(["train=data/Train", "test=data/test1"]).split_of
        {('data', 'Train'): 'train', ('data', 'test1'): 'test'}
        >>> parse(["train=*/train", "test=*/test"]).place("cat/test/1.jpg")
        ('test', 'cat')
    """
    if list(texts) == [NONE]:
        return Layout({(): ""})
    split_of: dict[Path, str] = {}
    for text in texts:
        split, _, folder = text.partition("=")
        path = tuple(name for name in folder.split("/") if name not in ("", "."))
        above = [path[:level] for level in range(len(path) + 1)]
        is_path = path and ".." not in path and path.count(CLASS) < 2
        if split not in contract.SPLITS or not is_path or path[-1] == CLASS:
            raise contract.DatasetError(
                f"split_folders={','.join(texts)} must be pairs SPLIT=FOLDER, as in "
                f"train=Train,test=test1, or {NONE}; SPLIT is one of "
                f"{', '.join(contract.SPLITS)}, FOLDER a path below `input`, in which "
                f"one {CLASS} may stand for the folders of classes: {CLASS}/train"
            )
        if any(other in split_of for other in above) or any(
            other[: len(path)] == path for other in split_of
        ):
            raise contract.DatasetError(
                f"split_folders={','.join(texts)} names {folder} twice, or a folder "
                "inside another folder: give each folder once"
            )
        split_of[path] = split
    return Layout(split_of)
