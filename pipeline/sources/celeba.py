"""CelebA in its official layout: the aligned images, the partition, the labels.

    DIR/img_align_celeba.zip, or the folder img_align_celeba/     images
    DIR/list_eval_partition.txt                                   split of each image
    DIR/list_attr_celeba.txt                   40 attributes of each image, optional
    DIR/list_landmarks_align_celeba.txt         5 landmarks of each image, optional

The subdirectories Img/, Eval/ and Anno/ of the official download are searched too.

Source:
    Liu et al., "Deep Learning Face Attributes in the Wild", ICCV 2015.
"""

import hashlib
from collections.abc import Callable, Mapping

import numpy as np
from absl import logging

from pipeline import contract, storage
from pipeline.rows import Rows
from pipeline.sources import Listing, archives, folder_reader, labels, listed

ZIP_NAME = "img_align_celeba.zip"
ZIP_BYTES = 1_443_490_838
FOLDER_NAME = "img_align_celeba"
PARTITION_NAME = "list_eval_partition.txt"
ATTRIBUTES_NAME = "list_attr_celeba.txt"
LANDMARKS_NAME = "list_landmarks_align_celeba.txt"

# The number in the partition file is the index of the split.
_SPLIT_NUMBERS = {str(number): split for number, split in enumerate(contract.SPLITS)}


def list_images(input_dir: str) -> Listing:
    """Returns the images of a CelebA download, with their labels.

    Args:
        input_dir: A directory, local or in a bucket.

    Raises:
        DatasetError: If a file is missing, malformed or cut off, or a split is empty.
    """
    if not storage.is_directory(input_dir):
        found = "is a file" if storage.find(input_dir) else "does not exist"
        raise contract.DatasetError(
            f"--input={input_dir} {found}: give the directory that has {ZIP_NAME} "
            f"and {PARTITION_NAME}"
        )
    partition_path = _find(input_dir, "Eval", PARTITION_NAME)
    if partition_path is None:
        raise contract.DatasetError(
            f"--input={input_dir} has no {PARTITION_NAME}: put the official file "
            "(2,836,386 B in full) there, or in its subdirectory Eval"
        )
    label_paths = {PARTITION_NAME: partition_path}
    states = {partition_path: listed.find_state(partition_path)}
    split_of = read_partition(partition_path)
    tables: dict[str, labels.Labels] = {}
    for feature, name in (
        ("attributes", ATTRIBUTES_NAME),
        ("landmarks", LANDMARKS_NAME),
    ):
        path = _find(input_dir, "Anno", name)
        if path is not None:
            label_paths[name] = path
            states[path] = listed.find_state(path)
            is_binary = feature == "attributes"
            tables[feature] = labels.read_labels(path, is_binary=is_binary)
    index = _index_images(input_dir)
    unused = len(index.locations.keys() - split_of.keys())
    if unused:
        logging.info("%d images are not in %s: not used", unused, partition_path)
    splits = _splits(split_of, tables, index, partition_path)
    fingerprint = _fingerprint(splits, index, label_paths)
    # A file may have changed between its labels and its hash.
    for path, state in states.items():
        listed.check_same(path, state, listed.find_state(path))
    return Listing(
        name="celeba",
        parts=list(splits.items()),
        features={feature: table.feature for feature, table in tables.items()},
        fingerprint=fingerprint,
        reader=index.reader,
    )


def read_partition(path: str) -> dict[str, str]:
    """Returns the split of each key, from `list_eval_partition.txt`.

    Raises:
        DatasetError: If a line is not a file name and 0, 1 or 2, a file name comes
            twice, or a split has no image.
    """
    split_of: dict[str, str] = {}
    for number, line in enumerate(labels.read_lines(path), start=1):
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
    label_paths: Mapping[str, str],
) -> str:
    """Hashes names, sizes and labels, which the zip and the folder share."""
    sha256 = hashlib.sha256()
    for name in sorted(label_paths):
        digest = storage.hash_file(label_paths[name])
        sha256.update(f"{name} {digest}\n".encode())
    for key in sorted(key for split in splits.values() for key in split.keys):
        sha256.update(f"{key} {index.sizes.get(key, 'missing')}\n".encode())
    return sha256.hexdigest()


def _index_images(root: str) -> archives.ImageIndex:
    zip_path = _find(root, "Img", ZIP_NAME)
    if zip_path is not None:
        return archives.index_zip(zip_path, official_bytes=ZIP_BYTES)
    folder_path = _find(root, "Img", FOLDER_NAME, storage.is_directory)
    if folder_path is not None:
        return folder_reader.index_folder(folder_path)
    raise contract.DatasetError(
        f"--input={root} has neither {ZIP_NAME} ({ZIP_BYTES:,} B) nor a folder "
        f"{FOLDER_NAME}: put one of them there, or in its subdirectory Img"
    )


def _find(
    root: str,
    subdirectory: str,
    name: str,
    is_there: Callable[[str], object] = storage.find,
) -> str | None:
    candidates = (storage.join(root, name), storage.join(root, subdirectory, name))
    return next(filter(is_there, candidates), None)
