"""CelebA: the aligned images, the partition, the labels.

    DIR/img_align_celeba.zip, or the folder img_align_celeba/     images
    DIR/list_eval_partition.txt                                   split of each image
    DIR/list_attr_celeba.txt                   40 attributes of each image, optional
    DIR/list_landmarks_align_celeba.txt         5 landmarks of each image, optional

The subdirectories Img/, Eval/ and Anno/ of the official download are searched too, and
DIR/celeba, as torchvision makes it, or whichever subdirectory has a partition. Kaggle's
lists are CSV, and its folder is in another one of its name. Images may be PNG, and
names in any case. Hugging Face has Parquet files in place of all that: see
`celeba_parquet`.

Source:
    Liu et al., "Deep Learning Face Attributes in the Wild", ICCV 2015.
"""

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from absl import logging

from pipeline import contract
from pipeline.sources import Listing
from pipeline.sources.celeba import labels, parquet_files
from pipeline.sources.listing import archives, folder_reader, listed
from pipeline.sources.rows import Rows
from pipeline.storage import paths

ZIP_NAME = "img_align_celeba.zip"
ZIP_BYTES = 1_443_490_838
FOLDER_NAME = "img_align_celeba"
PARTITION_NAME = "list_eval_partition.txt"
ATTRIBUTES_NAME = "list_attr_celeba.txt"
LANDMARKS_NAME = "list_landmarks_align_celeba.txt"
_LIST_NAMES = {"attributes": ATTRIBUTES_NAME, "landmarks": LANDMARKS_NAME}

_SUBDIRECTORIES = ("img", "eval", "anno")
_ZIP_NAMES = (ZIP_NAME, "img_align_celeba_png.zip")
_FOLDER_NAMES = (FOLDER_NAME, "img_align_celeba_png")
# Suffixes and names of files that are not read, and what is to be done with them.
_REMEDIES: Mapping[str, str] = {
    ".arrow": "Arrow files are not read: download the Parquet files in their place",
    "metadata.csv": "give --source=folder for folders of images without attributes",
    "metadata.jsonl": "give --source=folder for folders of images without attributes",
    ".001": "unpack the 7z archive of img_align_celeba_png there",
    ".7z": "unpack the 7z archive of img_align_celeba_png there",
}

# The number in the partition file is the index of the split.
_SPLIT_NUMBERS = {str(number): split for number, split in enumerate(contract.SPLITS)}

# By the name of a file or a directory, in small letters, its path.
_Files = Mapping[str, str]


def list_images(input_dir: str) -> Listing:
    """Returns the images of a CelebA download, with their labels.

    Args:
        input_dir: A directory, local or in a bucket.

    Raises:
        DatasetError: If a file is missing, malformed or cut off, or a split is empty.
    """
    if not paths.is_directory(input_dir):
        found = "is a file" if paths.find(input_dir) else "does not exist"
        raise contract.DatasetError(
            f"--input={input_dir} {found}: give the directory that has {ZIP_NAME} "
            f"and {PARTITION_NAME}"
        )
    home = _find_home(input_dir)
    if home is None or not _find_images(*home):
        shards = parquet_files.find(input_dir)
        if shards:
            return _list_parquet(input_dir, shards)
    if home is None:
        raise _no_partition(input_dir)
    files, folders = home
    partition_path = _find_list(files, PARTITION_NAME)
    assert partition_path is not None
    states = {partition_path: listed.find_state(partition_path)}
    split_of = read_partition(partition_path)
    digests = {PARTITION_NAME: labels.read_partition_lines(partition_path)[1]}
    tables: dict[str, labels.Labels] = {}
    for feature, name in _LIST_NAMES.items():
        path = _find_list(files, name)
        if path is None:
            logging.info("no %s: --input has no %s, nor .csv", feature, name)
            continue
        logging.info("%s from %s", feature, path)
        states[path] = listed.find_state(path)
        table = labels.read_labels(path, is_binary=feature == "attributes")
        digests[name] = table.sha256
        tables[feature] = table.renamed(_other_suffixes(split_of, table.row_of))
    index = _index_images(input_dir, files, folders)
    renamed = _other_suffixes(split_of, index.locations)
    if renamed:
        index = index.renamed(renamed)
        first = min(renamed)
        logging.info(
            "%d images are files with other suffixes, the first %s is %s",
            *(len(renamed), first, renamed[first]),
        )
    unused = len(index.locations.keys() - split_of.keys())
    if unused:
        logging.info("%d images are not in %s: not used", unused, partition_path)
    listing = _listing(split_of, tables, index, digests, partition_path)
    # A file may have changed between its labels and its hash.
    for path, state in states.items():
        listed.check_same(path, state, listed.find_state(path))
    return listing


def _list_parquet(input_dir: str, shards: Mapping[str, Sequence[str]]) -> Listing:
    # pyarrow takes a quarter of a second to import.
    from pipeline.sources.celeba import celeba_parquet

    content = celeba_parquet.read(shards, input_dir)
    tables = content.tables
    digests = {_LIST_NAMES[feature]: table.sha256 for feature, table in tables.items()}
    digests[PARTITION_NAME] = content.partition_sha256
    return _listing(content.split_of, tables, content.index, digests, input_dir)


def _listing(
    split_of: Mapping[str, str],
    tables: Mapping[str, labels.Labels],
    index: archives.ImageIndex,
    digests: Mapping[str, str],
    partition_path: str,
) -> Listing:
    splits = _splits(split_of, tables, index, partition_path)
    fingerprint = _fingerprint(splits, index, digests)
    return Listing(
        name="celeba",
        parts=list(splits.items()),
        features={feature: table.feature for feature, table in tables.items()},
        fingerprint=fingerprint,
        reader=index.reader,
    )


def read_partition(path: str) -> dict[str, str]:
    """Returns the split of each key, from `list_eval_partition.txt` or CSV.

    Raises:
        DatasetError: If a line is not a file name and 0, 1 or 2, a file name comes
            twice, or a split has no image.
    """
    split_of: dict[str, str] = {}
    lines, _ = labels.read_partition_lines(path)
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or fields[1] not in _SPLIT_NUMBERS or "/" in fields[0]:
            raise contract.DatasetError(
                f"{path} line {number} is {line!r:.60}: expected a file name and "
                "0 (train), 1 (validation) or 2 (test)"
            )
        if fields[0] in split_of:
            raise contract.DatasetError(
                f"{path} line {number} names {fields[0]} for the second time"
            )
        split_of[fields[0]] = _SPLIT_NUMBERS[fields[1]]
    empty = [split for split in contract.SPLITS if split not in split_of.values()]
    if empty:
        raise contract.DatasetError(
            f"{path} has no image for split {', '.join(empty)}: every one of "
            f"{', '.join(contract.SPLITS)} needs at least one"
        )
    return split_of


def _splits(
    split_of: Mapping[str, str],
    tables: Mapping[str, labels.Labels],
    index: archives.ImageIndex,
    partition_path: str,
) -> dict[str, Rows]:
    if not split_of.keys() & index.locations.keys():
        raise contract.DatasetError(
            f"none of the {len(split_of)} images in {partition_path} is in "
            f"{index.path}: they belong to different data sets"
        )
    for feature, table in tables.items():
        absent = sorted(split_of.keys() & index.locations.keys() - table.row_of.keys())
        if absent:
            raise contract.DatasetError(
                f"{len(absent)} images have no {feature}, the first is {absent[0]}: "
                "download the official file again, or remove it to go without"
            )
    splits = {}
    for split in contract.SPLITS:
        keys = sorted(key for key, its_split in split_of.items() if its_split == split)
        locations = [index.locations.get(key, index.missing) for key in keys]
        splits[split] = Rows(
            keys=keys,
            locations=np.array(locations, np.int64),
            features={feature: table.rows(keys) for feature, table in tables.items()},
        )
    return splits


def _fingerprint(
    splits: Mapping[str, Rows],
    index: archives.ImageIndex,
    digests: Mapping[str, str],
) -> str:
    """Hashes names, sizes and labels, which the zip and the folder share."""
    sha256 = hashlib.sha256()
    for name in sorted(digests):
        sha256.update(f"{name} {digests[name]}\n".encode())
    for key in sorted(key for split in splits.values() for key in split.keys):
        sha256.update(f"{key} {index.sizes.get(key, 'missing')}\n".encode())
    return sha256.hexdigest()


def _index_images(
    input_dir: str, files: _Files, folders: _Files
) -> archives.ImageIndex:
    path = _find_images(files, folders)
    if path in files.values():
        return archives.index_zip(path, official_bytes=ZIP_BYTES)
    if path:
        return folder_reader.index_folder(path)
    raise contract.DatasetError(
        f"--input={input_dir} has neither {ZIP_NAME} ({ZIP_BYTES:,} B) nor a folder "
        f"{FOLDER_NAME}: {_remedy(files)}put one of them there, or in its subdirectory "
        "Img"
    )


def _find_images(files: _Files, folders: _Files) -> str:
    """Returns the path of the zip or the folder of images; empty if there is none."""
    zips = [files[name] for name in _ZIP_NAMES if name in files]
    found = zips + [folders[name] for name in _FOLDER_NAMES if name in folders]
    return found[0] if found else ""


def _find_home(input_dir: str) -> tuple[_Files, _Files] | None:
    """Returns the files and the folders of the directory that has a partition."""
    files, folders = _list(input_dir)
    if _find_list(files, PARTITION_NAME):
        return files, folders
    homes = [
        (path, *found)
        for name, path in sorted(folders.items())
        if name not in (*_FOLDER_NAMES, *_SUBDIRECTORIES)
        and _find_list((found := _list(path))[0], PARTITION_NAME)
    ]
    if len(homes) == 1:
        path, files, folders = homes[0]
        logging.info("CelebA is in %s", path)
        return files, folders
    if homes:
        raise contract.DatasetError(
            f"--input={input_dir} has {PARTITION_NAME} or .csv in several directories "
            f"({', '.join(path for path, *_ in homes)}): give one of them as --input"
        )
    return None


def _no_partition(input_dir: str) -> contract.DatasetError:
    files, folders = _list(input_dir)
    inner = [files, *(_list(path)[0] for path in folders.values())]
    remedy = "".join(sorted({_remedy(each) for each in inner}))
    return contract.DatasetError(
        f"--input={input_dir} has no {PARTITION_NAME}: {remedy}put the official file "
        "(2,836,386 B in full) there, or in its subdirectory Eval, or Kaggle's "
        f"{_as_csv(PARTITION_NAME)}"
    )


def _list(path: str) -> tuple[_Files, _Files]:
    """Returns the files and the directories in one and its official subdirectories."""
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
    return files, folders


def _find_list(files: _Files, name: str) -> str | None:
    return files.get(name.lower()) or files.get(_as_csv(name).lower())


def _as_csv(name: str) -> str:
    return name.removesuffix("txt") + "csv"


def _remedy(files: _Files) -> str:
    """Returns what is to be done with files that are not read."""
    found = files.keys() | {os.path.splitext(name)[1] for name in files}
    remedies = {_REMEDIES[suffix] for suffix in found & _REMEDIES.keys()}
    return "".join(f"{text}; or " for text in sorted(remedies))


def _other_suffixes(keys: Collection[str], names: Collection[str]) -> dict[str, str]:
    """Returns, for each key that is no name, the name that has another suffix."""
    found = set(names)
    name_of = {os.path.splitext(name)[0]: name for name in sorted(found - set(keys))}
    pairs = ((key, name_of.get(os.path.splitext(key)[0])) for key in keys)
    return {key: name for key, name in pairs if name is not None and key not in found}
