"""Detects the layout of a source from the names of its folders.

FOLDER/cat/a.jpg                   classes
FOLDER/Train/cat/a.jpg             splits, by any of their usual names
FOLDER/data/images/train2017/...   splits below folders that hold nothing else
FOLDER/test/images/cat/a.jpg       a folder `images` in every split is not a class

Names are read as words: `TrainImages`, `train-256` and `training_set` all mean train.
Folders that could be splits or classes are an error. The user then gives
--split_folders, or renames the folders.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from absl import logging

from pipeline import contract
from pipeline.sources import folder_names
from pipeline.sources.layouts import CLASS, NONE, Folders, Layout, Path

_NUM_NAMED = 8


def with_images(given: Layout, folders: Folders, input_dir: str) -> Layout:
    """Returns the user's layout, with splits moved down to the folders of their images.

    Raises:
        DatasetError: If a named folder has no image.
    """
    for path in given.split_of:
        if not folders.matching(path):
            raise contract.DatasetError(
                f"`split_folders` names {'/'.join(path)}, but input={input_dir} has no "
                "image there: give the path of a folder below `input`"
            )
    return _below_image_folders(given, folders) if given.has_splits else given


def detect(folders: Folders, input_dir: str) -> Layout:
    """Returns the layout that the names of a source's folders mean.

    Args:
        folders: All folders that contain images.
        input_dir: Value of `input`, for error messages.

    Raises:
        DatasetError: If folders could be splits or classes, or an image is in no split.
    """
    wrappers: list[Path] = [()]
    # Descend to the first folder that has images or several folders.
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
    """Returns the splits among the folders in `level`; none if these are classes."""
    readings = _readings(level, folders)
    splits = {reading.split for reading in readings.values()}
    rests = {reading.rest for reading in readings.values()}
    if None in splits or rests != {()} and (len(rests) > 1 or len(splits) == 1):
        if _is_doubtful(readings.values()):
            raise _ambiguous(readings, input_dir, "not all of them are splits")
        plain = {path: name for path, name in readings.items() if name.is_plain}
        if plain:
            logging.info(
                "%s is used as a class, like the folders beside it; split_folders=%s "
                "makes it a split",
                _listed(plain),
                _pairs(plain),
            )
        return {}
    if len(readings) > len(splits):
        named = [reading.split for reading in readings.values()]
        double = max(contract.SPLITS, key=named.count)
        why = f"more than one of them is the {double} split"
        raise _ambiguous(readings, input_dir, why)
    if not readings:
        return {}
    if "train" not in splits and not all(map(_is_always_split, readings)):
        raise _ambiguous(readings, input_dir, "none of them is the train split")
    bare = folders.first_image(level)
    if bare is not None:
        raise contract.DatasetError(
            f"input={input_dir} has its splits as sub-folders ({_listed(readings)}), "
            f"but the image {bare} is outside them: move the image, rename the "
            f"folders, or give split_folders={_pairs(readings)} to leave the image out"
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
    """Returns whether these folders could be either splits or classes."""
    splits = {reading.split for reading in readings if reading.split}
    if any(reading.is_plain for reading in readings):
        return len(splits) > 1 or any(reading.is_companion for reading in readings)
    is_all = all(reading.split for reading in readings)
    return len(splits) > 1 and (is_all or _has_counterparts(readings))


def _has_counterparts(readings: Iterable[folder_names.Reading]) -> bool:
    """Returns whether two names differ only in the split that they mean."""
    splits_of: dict[tuple[str, ...], set[str]] = {}
    for reading in readings:
        if reading.split:
            splits_of.setdefault(reading.rest, set()).add(reading.split)
    return any(len(splits) > 1 for splits in splits_of.values())


def _only_folder(wrappers: Sequence[Path], input_dir: str) -> dict[Path, str]:
    """Returns the single folder that holds all images, if its name means a split."""
    for path in wrappers:
        reading = folder_names.read(path[-1])
        if reading.split == "train" and not reading.rest:
            return {path: "train"}
    if wrappers and (reading := folder_names.read(wrappers[0][-1])).is_plain:
        if _is_always_split(wrappers[0]):
            return {wrappers[0]: str(reading.split)}
        why = "none of them is the train split"
        raise _ambiguous({wrappers[0]: reading}, input_dir, why)
    return {}


def _check_inside(level: Path, folders: Folders, input_dir: str) -> None:
    """Checks that no folder in `level` contains splits.

    Folders of masks and other companions of images are not checked.
    """
    inside = [
        _readings(path, folders)
        for path, reading in _readings(level, folders).items()
        if not reading.is_companion
    ]
    if any(_has_counterparts(readings.values()) for readings in inside):
        all_readings = {
            path: reading for each in inside for path, reading in each.items()
        }
        suggested = all_readings
        is_each_divided = all(
            any(each.split for each in readings.values()) for readings in inside
        )
        if is_each_divided and len(inside) == len(folders.names(level)) > 1:
            # The folders in `level` are classes, because each of them contains splits.
            suggested = {
                (*level, CLASS, path[-1]): all_readings[path]
                for path in sorted(all_readings)
            }
        why = "they are inside other folders"
        raise _ambiguous(all_readings, input_dir, why, suggested)


def _below_image_folders(layout: Layout, folders: Folders) -> Layout:
    """Returns the layout with each split moved down to the folder of its images.

    The layout moves down a level while every split holds a single folder and nothing
    else, and this folder has a name like `images`, or the name of its parent or split.
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
    suggested: Mapping[Path, folder_names.Reading] | None = None,
) -> contract.DatasetError:
    pairs = _pairs(suggested or readings)
    return contract.DatasetError(
        f"input={input_dir} has folders that may be splits ({_listed(readings)}), "
        f"but {why}: give split_folders={pairs} to use only these folders, or "
        f"split_folders={NONE} if no folder is a split, or rename the folders"
    )


def _pairs(readings: Mapping[Path, folder_names.Reading]) -> str:
    """Returns a value of `split_folders` that names the splits among these folders."""
    return ",".join(
        f"{reading.split}={'/'.join(path)}"
        for split in contract.SPLITS
        for path, reading in readings.items()
        if reading.split == split and not reading.is_companion
    )


def _listed(paths: Collection[Path]) -> str:
    more = ", ..." if len(paths) > _NUM_NAMED else ""
    return ", ".join(map("/".join, list(paths)[:_NUM_NAMED])) + more
