"""Lists CelebA: the aligned images, the partition, the labels.

    DIR/img_align_celeba.zip, or the folder img_align_celeba/     images
    DIR/list_eval_partition.txt                                   split of each image
    DIR/list_attr_celeba.txt                   40 attributes of each image, optional
    DIR/list_landmarks_align_celeba.txt         5 landmarks of each image, optional

The search includes the subdirectories Img/, Eval/ and Anno/ of the official download.
If DIR has no partition, a subdirectory with a partition is searched instead, such as
DIR/celeba from torchvision. Images may be PNG, and file names may have any case.

Kaggle's lists are CSV, and its image folder lies in a folder of the same name. Hugging
Face distributes Parquet files instead of all these files: see `celeba_parquet`.

Source:
    Liu et al., "Deep Learning Face Attributes in the Wild", ICCV 2015.
"""

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from absl import logging

from pipeline import contract
from pipeline.process import wording
from pipeline.sources import Listing
from pipeline.sources.celeba import download, labels, parquet_files
from pipeline.sources.celeba.download import (
    ATTRIBUTES_NAME,
    FOLDER_NAME,
    LANDMARKS_NAME,
    PARTITION_NAME,
    ZIP_BYTES,
    ZIP_NAME,
)
from pipeline.sources.image_table import ImageTable
from pipeline.sources.listing import archives, file_states, folder_reader
from pipeline.storage import paths

_LIST_NAMES = {"attributes": ATTRIBUTES_NAME, "landmarks": LANDMARKS_NAME}

# The number in the partition file is the index of the split.
_SPLIT_NUMBERS = {str(number): split for number, split in enumerate(contract.SPLITS)}


def list_images(input_dir: str) -> Listing:
    """Returns the images of a CelebA download, with their labels.

    Args:
        input_dir: Directory of the download, local or in a bucket.

    Raises:
        DatasetError: If a file is missing, malformed or cut off, or a split is empty.
    """
    if not paths.is_directory(input_dir):
        raise download.no_directory(input_dir)
    home = download.find(input_dir)
    if home is None or not home.find_images():
        shards = parquet_files.find(input_dir)
        if shards:
            return _list_parquet(input_dir, shards)
    if home is None:
        raise download.no_partition(input_dir)
    partition_path = home.find_list(PARTITION_NAME)
    assert partition_path is not None
    states = {partition_path: file_states.find(partition_path)}
    split_of = read_partition(partition_path)
    digests = {PARTITION_NAME: labels.read_partition_lines(partition_path)[1]}
    tables: dict[str, labels.Labels] = {}
    for feature, name in _LIST_NAMES.items():
        path = home.find_list(name)
        if path is None:
            logging.info("no %s: the input has neither %s nor its .csv", feature, name)
            continue
        logging.info("reading %s from %s", feature, path)
        states[path] = file_states.find(path)
        table = labels.read_labels(path, is_binary=feature == "attributes")
        digests[name] = table.sha256
        tables[feature] = table.renamed(_other_suffixes(split_of, table.row_of))
    index = _index_images(input_dir, home)
    renamed = _other_suffixes(split_of, index.locations)
    if renamed:
        index = index.renamed(renamed)
        first = min(renamed)
        logging.info(
            "found %s with another suffix than in the lists, such as %s for %s",
            *(wording.counted(len(renamed), "image"), renamed[first], first),
        )
    unused = len(index.locations.keys() - split_of.keys())
    if unused:
        number = wording.counted(unused, "image")
        logging.info("left out %s that %s does not list", number, partition_path)
    listing = _listing(split_of, tables, index, digests, partition_path)
    # A list may have changed while this function read it.
    for path, state in states.items():
        file_states.check_same(path, state, file_states.find(path))
    return listing


def _list_parquet(input_dir: str, shards: Mapping[str, Sequence[str]]) -> Listing:
    # Imported lazily: pyarrow takes a quarter of a second to import.
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
        DatasetError: If a line is not a file name and 0, 1 or 2, a file name appears
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
                f"{path} line {number} repeats the file name {fields[0]}"
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
) -> dict[str, ImageTable]:
    if not split_of.keys() & index.locations.keys():
        raise contract.DatasetError(
            f"none of the {len(split_of)} images in {partition_path} is in "
            f"{index.path}: they belong to different data sets"
        )
    for feature, table in tables.items():
        absent = sorted(split_of.keys() & index.locations.keys() - table.row_of.keys())
        if absent:
            raise contract.DatasetError(
                f"{feature} are missing for {wording.counted(len(absent), 'image')} "
                f"of {partition_path}, such as {absent[0]}: download the file of "
                f"{feature} again, or remove it to prepare without {feature}"
            )
    splits = {}
    for split in contract.SPLITS:
        keys = sorted(key for key, its_split in split_of.items() if its_split == split)
        locations = [index.locations.get(key, index.missing) for key in keys]
        splits[split] = ImageTable(
            keys=keys,
            locations=np.array(locations, np.int64),
            features={feature: table.rows(keys) for feature, table in tables.items()},
        )
    return splits


def _fingerprint(
    splits: Mapping[str, ImageTable],
    index: archives.ImageIndex,
    digests: Mapping[str, str],
) -> str:
    """Returns a hash of names, sizes and labels, the same for a zip and a folder."""
    sha256 = hashlib.sha256()
    for name in sorted(digests):
        sha256.update(f"{name} {digests[name]}\n".encode())
    for key in sorted(key for split in splits.values() for key in split.keys):
        sha256.update(f"{key} {index.sizes.get(key, 'missing')}\n".encode())
    return sha256.hexdigest()


def _index_images(input_dir: str, home: download.Download) -> archives.ImageIndex:
    path = home.find_images()
    if path in home.files.values():
        return archives.index_zip(path, official_bytes=ZIP_BYTES)
    if path:
        return folder_reader.index_folder(path)
    raise contract.DatasetError(
        f"input={input_dir} has neither {ZIP_NAME} ({ZIP_BYTES:,} B) nor a folder "
        f"{FOLDER_NAME}: {home.remedy()}put one of them there, or in its subdirectory "
        "Img"
    )


def _other_suffixes(keys: Collection[str], names: Collection[str]) -> dict[str, str]:
    """Returns, by key, the name that differs from the key only in its suffix.

    Keys that are names themselves, and keys without such a name, are left out.
    """
    present = set(names)
    name_of = {os.path.splitext(name)[0]: name for name in sorted(present - set(keys))}
    pairs = ((key, name_of.get(os.path.splitext(key)[0])) for key in keys)
    return {key: name for key, name in pairs if name is not None and key not in present}
