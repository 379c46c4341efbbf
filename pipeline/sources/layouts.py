"""Which folders of a source are its splits, and which are its classes.

FOLDER/cat/a.jpg                   classes
FOLDER/Train/cat/a.jpg             splits, by any of their usual names
FOLDER/data/images/train2017/...   splits below folders that hold nothing else
FOLDER/test/images/cat/a.jpg       a folder of images in every split is no class

A name is read as words: `TrainImages`, `train-256` and `training_set` are all train.
Folders that may be splits or classes are an error, which the user's own names decide.
"""

import dataclasses
import functools
from collections.abc import Collection, Iterable, Mapping, Sequence

from absl import logging

from pipeline import contract
from pipeline.sources import folder_names

# What takes every folder as a class.
NONE = "none"
FLAG = "--split_folders"
# In what the user names, a folder that is a class and has splits in it.
CLASS = "*"

# Levels of folders that are told apart: wrappers, split, images, class.
_NUM_LEVELS = 6
_NUM_NAMED = 8

# The names of a folder and of those above it, from the source's root.
Path = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the splits and the classes of a source are.

    Attributes:
        split_of: By the folder that holds a split, its name; of a source without
            splits, the root alone, with an empty name. One of the names of a folder
            may be `CLASS`.
    """

    split_of: Mapping[Path, str]

    @property
    def has_splits(self) -> bool:
        """Whether folders are the splits."""
        return "" not in self.split_of.values()

    @functools.cached_property
    def _levels(self) -> list[int]:
        return sorted({len(path) for path in self.split_of})

    def place(self, key: str) -> tuple[str, str] | None:
        """Returns the split and the class of an image, or None if it is left out.

        Either is empty if there is none.

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
        """Returns the smallest key of an image that is in a split and in no class."""
        paths = [path for path in self.split_of if CLASS not in path]
        return min(filter(None, map(folders.first_image, paths)), default=None)

    def find_classes(self, folders: "Folders") -> set[str]:
        """Returns the names of all folders that are classes."""
        found: set[str] = set()
        for path in self.split_of:
            if CLASS in path:
                place = path.index(CLASS)
                found |= {each[place] for each in folders.matching(path)}
            else:
                found.update(folders.names(path))
        return found

    @functools.cached_property
    def _class_places(self) -> list[int]:
        paths = [path for path in self.split_of if CLASS in path]
        return sorted({path.index(CLASS) for path in paths})

    def __str__(self) -> str:
        """Returns which folder is which split, for a message.

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
    """The folders of a source that have images in them or below."""

    def __init__(self) -> None:
        """Knows no folder yet."""
        # The smallest key directly in each.
        self._first_of: dict[Path, str | None] = {}
        self._names: dict[Path, set[str]] = {}

    def add(self, key: str) -> None:
        """Adds the folders that an image is in."""
        *parents, _ = key.split("/")
        path = tuple(parents[:_NUM_LEVELS])
        if path not in self._first_of:
            self._first_of[path] = None
            for level, name in enumerate(path):
                self._names.setdefault(path[:level], set()).add(name)
        if len(parents) <= _NUM_LEVELS:
            self._first_of[path] = min(self._first_of[path] or key, key)

    def names(self, path: Path) -> list[str]:
        """Returns the names of the folders in one, sorted."""
        return sorted(self._names.get(path, ()))

    def first_image(self, path: Path) -> str | None:
        """Returns the smallest key directly in a folder, if there is one."""
        return self._first_of.get(path)

    def matching(self, path: Path) -> list[Path]:
        """Returns the folders of a path, of which one name may be `CLASS`."""
        if CLASS not in path:
            return [path] if path in self else []
        place = path.index(CLASS)
        above, below = path[:place], path[place + 1 :]
        paths = [(*above, name, *below) for name in self.names(above)]
        return [each for each in paths if each in self]

    def __contains__(self, path: Path) -> bool:
        """Returns whether there is an image in a folder or below."""
        return path in self._first_of or path in self._names


def parse(texts: Sequence[str]) -> Layout:
    """Returns what --split_folders names.

    Args:
        texts: SPLIT=FOLDER, with the folder's path from the root, in which `*` is a
            folder of any name, which is a class; or `none` alone.

    Raises:
        DatasetError: If a text is anything else, or a folder comes twice or is inside
            another one.

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
                f"{FLAG}={','.join(texts)} must be pairs SPLIT=FOLDER, as in "
                f"train=Train,test=test1, or {NONE}; SPLIT is one of "
                f"{', '.join(contract.SPLITS)}, FOLDER a path below --input, in which "
                f"one {CLASS} may stand for the folders of classes: {CLASS}/train"
            )
        if any(other in split_of for other in above) or any(
            other[: len(path)] == path for other in split_of
        ):
            raise contract.DatasetError(
                f"{FLAG}={','.join(texts)} names {folder} twice, or a folder inside "
                "another one: give each folder once"
            )
        split_of[path] = split
    return Layout(split_of)


def with_images(asked: Layout, folders: Folders, input_dir: str) -> Layout:
    """Returns the layout that the user asked for, with the folders of its classes.

    Raises:
        DatasetError: If a folder has no image.
    """
    for path in asked.split_of:
        if not folders.matching(path):
            raise contract.DatasetError(
                f"{FLAG} names {'/'.join(path)}, and --input={input_dir} has no image "
                "there: give the path of a folder below --input"
            )
    return _below_image_folders(asked, folders) if asked.has_splits else asked


def find(folders: Folders, input_dir: str) -> Layout:
    """Returns the layout that the names of a source's folders say.

    Args:
        folders: All that have images.
        input_dir: For the error messages.

    Raises:
        DatasetError: If folders may be splits or classes, or an image is in no split.
    """
    wrappers: list[Path] = [()]
    # Down to the first folder that has images or several folders.
    while len(folders.names(wrappers[-1])) == 1 and not folders.first_image(
        wrappers[-1]
    ):
        wrappers.append((*wrappers[-1], *folders.names(wrappers[-1])))
    split_of = _judge(wrappers[-1], folders, input_dir)
    if not split_of:
        split_of = _only_folder(wrappers[1:], input_dir)
    if not split_of:
        _check_inside(wrappers[-1], folders, input_dir)
        return Layout({(): ""})
    return _below_image_folders(Layout(split_of), folders)


def _judge(level: Path, folders: Folders, input_dir: str) -> dict[Path, str]:
    """Returns the splits among the folders in one; none if they are classes."""
    readings = _readings(level, folders)
    splits = {reading.split for reading in readings.values()}
    rests = {reading.rest for reading in readings.values()}
    if None in splits or rests != {()} and (len(rests) > 1 or len(splits) == 1):
        if _is_doubtful(readings.values()):
            raise _ambiguous(readings, input_dir, "not all of them are splits")
        plain = {path: found for path, found in readings.items() if found.is_plain}
        if plain:
            logging.info(
                "%s: a class, as the folders beside it are; %s=%s makes it a split",
                *(_listed(plain), FLAG, _pairs(plain)),
            )
        return {}
    if len(readings) > len(splits):
        found = [reading.split for reading in readings.values()]
        double = max(contract.SPLITS, key=found.count)
        why = f"more than one is the {double} split"
        raise _ambiguous(readings, input_dir, why)
    if not readings:
        return {}
    if "train" not in splits and not all(map(_is_always_split, readings)):
        raise _ambiguous(readings, input_dir, "none is the train split")
    bare = folders.first_image(level)
    if bare is not None:
        raise contract.DatasetError(
            f"--input={input_dir} has its splits as sub-folders ({_listed(readings)}), "
            f"and {bare} is in none of them: move it, or rename them, or leave it out "
            f"by {FLAG}={_pairs(readings)}"
        )
    return {
        path: split
        for split in contract.SPLITS
        for path, reading in readings.items()
        if reading.split == split
    }


def _readings(level: Path, folders: Folders) -> dict[Path, folder_names.Reading]:
    return {(*level, name): folder_names.read(name) for name in folders.names(level)}


def _is_always_split(path: Path) -> bool:
    return path[-1].lower() in folder_names.PLAIN_SPLITS


def _is_doubtful(readings: Collection[folder_names.Reading]) -> bool:
    """Returns whether folders that are not all splits may yet have splits in them."""
    splits = {reading.split for reading in readings if reading.split}
    if any(reading.is_plain for reading in readings):
        return len(splits) > 1 or any(reading.is_companion for reading in readings)
    is_all = all(reading.split for reading in readings)
    return len(splits) > 1 and (is_all or _has_counterparts(readings))


def _has_counterparts(readings: Iterable[folder_names.Reading]) -> bool:
    """Returns whether two names differ only in the split that they name."""
    splits_of: dict[tuple[str, ...], set[str]] = {}
    for reading in readings:
        if reading.split:
            splits_of.setdefault(reading.rest, set()).add(reading.split)
    return any(len(splits) > 1 for splits in splits_of.values())


def _only_folder(wrappers: Sequence[Path], input_dir: str) -> dict[Path, str]:
    """Returns the one folder that has all images, if it is a split."""
    for path in wrappers:
        reading = folder_names.read(path[-1])
        if reading.split == "train" and not reading.rest:
            return {path: "train"}
    if wrappers and (reading := folder_names.read(wrappers[0][-1])).is_plain:
        if _is_always_split(wrappers[0]):
            return {wrappers[0]: str(reading.split)}
        why = "none is the train split"
        raise _ambiguous({wrappers[0]: reading}, input_dir, why)
    return {}


def _check_inside(level: Path, folders: Folders, input_dir: str) -> None:
    """Checks that no class, or folder of masks, is divided into splits itself."""
    inside = [
        _readings(path, folders)
        for path, reading in _readings(level, folders).items()
        if not reading.is_companion
    ]
    if any(_has_counterparts(readings.values()) for readings in inside):
        found = {path: reading for each in inside for path, reading in each.items()}
        offered = found
        is_each_divided = all(
            any(each.split for each in readings.values()) for readings in inside
        )
        if is_each_divided and len(inside) == len(folders.names(level)) > 1:
            # The folders around them are classes.
            offered = {(*level, CLASS, path[-1]): found[path] for path in sorted(found)}
        why = "they are inside of other folders"
        raise _ambiguous(found, input_dir, why, offered)


def _below_image_folders(layout: Layout, folders: Folders) -> Layout:
    """Returns the layout with the folders in which all images of a split are.

    Such a folder is called `images`, or as the split is, in every split.
    """
    split_of = layout.split_of
    while True:
        below: dict[Path, str] = {}
        for path, split in split_of.items():
            names = folders.names(path)
            if len(names) != 1 or folders.first_image(path) is not None:
                return Layout(split_of)
            inner = folder_names.read(names[0])
            is_same = names[0].lower() == path[-1].lower()
            is_split = inner.is_plain and inner.split == split
            if not (
                is_same
                or is_split
                or folder_names.IMAGE_WORDS.issuperset(folder_names.words(names[0]))
            ):
                return Layout(split_of)
            below[(*path, names[0])] = split
        split_of = below


def _ambiguous(
    readings: Mapping[Path, folder_names.Reading],
    input_dir: str,
    why: str,
    offered: Mapping[Path, folder_names.Reading] | None = None,
) -> contract.DatasetError:
    pairs = _pairs(offered or readings)
    return contract.DatasetError(
        f"--input={input_dir} has folders that may be splits ({_listed(readings)}), "
        f"and {why}: give {FLAG}={pairs} with the folders to use, others "
        f"are left out; or {FLAG}={NONE} if no folder is a split; or rename them"
    )


def _pairs(readings: Mapping[Path, folder_names.Reading]) -> str:
    """Returns what --split_folders may be."""
    return ",".join(
        f"{reading.split}={'/'.join(path)}"
        for split in contract.SPLITS
        for path, reading in readings.items()
        if reading.split == split and not reading.is_companion
    )


def _listed(paths: Collection[Path]) -> str:
    more = ", ..." if len(paths) > _NUM_NAMED else ""
    return ", ".join(map("/".join, list(paths)[:_NUM_NAMED])) + more
