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
import pathlib
from collections.abc import Mapping

import numpy as np
from absl import logging

from pipeline import contract
from pipeline.sources import Listing, SplitListing, archives

ZIP_NAME = "img_align_celeba.zip"
ZIP_BYTES = 1_443_490_838
FOLDER_NAME = "img_align_celeba"
PARTITION_NAME = "list_eval_partition.txt"
ATTRIBUTES_NAME = "list_attr_celeba.txt"
LANDMARKS_NAME = "list_landmarks_align_celeba.txt"

_BLOCK_LINES = 8192

# The number in the partition file is the index of the split.
_SPLIT_NUMBERS = {str(number): split for number, split in enumerate(contract.SPLITS)}


def list_images(input_dir: str) -> Listing:
    """Returns the images of a CelebA download, with their labels.

    Args:
        input_dir: A local directory.

    Raises:
        DatasetError: If a file is missing, malformed or cut off, or a split is empty.
    """
    root = pathlib.Path(input_dir)
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise contract.DatasetError(
            f"--input={input_dir} {found}: give the directory that has {ZIP_NAME} "
            f"and {PARTITION_NAME}"
        )
    partition_path = _find(root, "Eval", PARTITION_NAME)
    if partition_path is None:
        raise contract.DatasetError(
            f"--input={input_dir} has no {PARTITION_NAME}: put the official file "
            "(2,836,386 B in full) there, or in its subdirectory Eval"
        )
    split_of = read_partition(partition_path)
    label_paths = {PARTITION_NAME: partition_path}
    tables: dict[str, tuple[contract.Feature, Mapping[str, np.ndarray]]] = {}
    for feature, name in (
        ("attributes", ATTRIBUTES_NAME),
        ("landmarks", LANDMARKS_NAME),
    ):
        path = _find(root, "Anno", name)
        if path is not None:
            label_paths[name] = path
            tables[feature] = read_labels(path, is_binary=feature == "attributes")
    index = _index_images(root)
    unused = len(index.locations.keys() - split_of.keys())
    if unused:
        logging.info("%d images are not in %s: not used", unused, partition_path)
    splits = _splits(split_of, tables, index, partition_path)
    return Listing(
        name="celeba",
        splits=splits,
        features={feature: table[0] for feature, table in tables.items()},
        fingerprint=_fingerprint(splits, index, label_paths),
        reader=index.reader,
    )


def read_partition(path: pathlib.Path) -> dict[str, str]:
    """Returns the split of each key, from `list_eval_partition.txt`.

    Raises:
        DatasetError: If a line is not a file name and 0, 1 or 2, a file name comes
            twice, or a split has no image.
    """
    split_of: dict[str, str] = {}
    for number, line in enumerate(_read_lines(path), start=1):
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


def read_labels(
    path: pathlib.Path, *, is_binary: bool
) -> tuple[contract.Feature, Mapping[str, np.ndarray]]:
    """Returns the labels of each key: a count, a line of names, a line an image.

    Args:
        path: `list_attr_celeba.txt` or `list_landmarks_align_celeba.txt`.
        is_binary: Whether labels are -1 or 1, returned as 0 or 1; else they are
            pixel positions in the original image.

    Returns:
        The feature, and by key its `[num_names]` integers.

    Raises:
        DatasetError: If a line is malformed, or there are fewer than announced.
    """
    lines = _read_lines(path)
    names = tuple(lines[1].split()) if len(lines) > 1 else ()
    if not names or not lines[0].strip().isdecimal():
        raise contract.DatasetError(
            f"{path} must begin with the number of images and a line of names, and "
            f"begins with {' / '.join(lines[:2])!r:.60}"
        )
    keys: list[str] = []
    blocks = [np.zeros((0, len(names)), np.int16)]
    allowed = "-1 or 1" if is_binary else "a whole number of pixels"
    # In blocks: the fields of all lines together would take most of a gigabyte.
    for start in range(2, len(lines), _BLOCK_LINES):
        block = lines[start : start + _BLOCK_LINES]
        rows = [fields for line in block if (fields := line.split())]
        keys += [fields[0] for fields in rows]
        blocks.append(_parse_rows(rows, len(names), is_binary))
        if len(blocks[-1]) != len(rows):
            raise contract.DatasetError(
                _bad_row(path, lines, len(names), allowed, is_binary)
            )
    if int(lines[0]) != len(keys):
        raise contract.DatasetError(
            f"{path} announces {int(lines[0])} images and has {len(keys)}: it was cut "
            "off; download it again"
        )
    if not keys:
        raise contract.DatasetError(f"{path} has no image")
    values = np.concatenate(blocks)
    if is_binary:
        values = (values > 0).astype(np.int8)
    feature = contract.Feature(dtype="int64", shape=(len(names),), names=names)
    return feature, dict(zip(keys, values, strict=True))


def _parse_rows(rows: list[list[str]], num_names: int, is_binary: bool) -> np.ndarray:
    """Returns `[num_rows, num_names]` int16, or no row if one is malformed."""
    none = np.zeros((0, num_names), np.int16)
    if any(len(fields) != num_names + 1 for fields in rows):
        return none
    try:
        cells = np.array([fields[1:] for fields in rows], dtype=object)
        values = cells.reshape(len(rows), num_names).astype(np.int16)
    except (ValueError, OverflowError):
        return none
    return none if is_binary and not (np.abs(values) == 1).all() else values


def _bad_row(
    path: pathlib.Path, lines: list[str], num_names: int, allowed: str, is_binary: bool
) -> str:
    for number, line in enumerate(lines[2:], start=3):
        fields = line.split()
        problem = ""
        if fields and len(fields) != num_names + 1:
            problem = f"has {len(fields) - 1} values, and there are {num_names} names"
        for field in fields[1:]:
            is_pixel = field.lstrip("-").isdecimal() and len(field) < 5
            if not (field in ("-1", "1") if is_binary else is_pixel):
                problem = f"has {field!r:.20}, which is not {allowed}"
        if problem:
            return f"{path} line {number} {problem}: download the official file again"
    return f"{path} is malformed: download the official file again"


def _splits(
    split_of: Mapping[str, str],
    tables: Mapping[str, tuple[contract.Feature, Mapping[str, np.ndarray]]],
    index: archives.ImageIndex,
    partition_path: pathlib.Path,
) -> dict[str, SplitListing]:
    if not split_of.keys() & index.locations.keys():
        raise contract.DatasetError(
            f"none of the {len(split_of)} images in {partition_path} is in "
            f"{index.path}: they belong to different data sets"
        )
    for feature, (_, rows) in tables.items():
        absent = sorted(split_of.keys() & index.locations.keys() - rows.keys())
        if absent:
            raise contract.DatasetError(
                f"{len(absent)} images have no {feature}, the first is {absent[0]}: "
                "download the official file again, or remove it to go without"
            )
    num_columns = index.missing.shape[0]
    splits = {}
    for split in contract.SPLITS:
        keys = sorted(key for key, its_split in split_of.items() if its_split == split)
        features = {}
        for feature, (spec, rows) in tables.items():
            zeros = np.zeros(spec.shape, next(iter(rows.values())).dtype)
            features[feature] = np.stack([rows.get(key, zeros) for key in keys])
        splits[split] = SplitListing(
            keys=keys,
            locations=np.array(
                [index.locations.get(key, index.missing) for key in keys], np.int64
            ).reshape(len(keys), num_columns),
            features=features,
        )
    return splits


def _fingerprint(
    splits: Mapping[str, SplitListing],
    index: archives.ImageIndex,
    label_paths: Mapping[str, pathlib.Path],
) -> str:
    """Hashes names, sizes and labels, which the zip and the folder share."""
    sha256 = hashlib.sha256()
    for name in sorted(label_paths):
        digest = hashlib.sha256(label_paths[name].read_bytes()).hexdigest()
        sha256.update(f"{name} {digest}\n".encode())
    for key in sorted(key for split in splits.values() for key in split.keys):
        sha256.update(f"{key} {index.sizes.get(key, 'missing')}\n".encode())
    return sha256.hexdigest()


def _index_images(root: pathlib.Path) -> archives.ImageIndex:
    zip_path = _find(root, "Img", ZIP_NAME)
    if zip_path is not None and zip_path.is_file():
        return archives.index_zip(zip_path, official_bytes=ZIP_BYTES)
    folder_path = _find(root, "Img", FOLDER_NAME)
    if folder_path is not None and folder_path.is_dir():
        return archives.index_folder(folder_path)
    raise contract.DatasetError(
        f"--input={root} has neither {ZIP_NAME} ({ZIP_BYTES:,} B) nor a folder "
        f"{FOLDER_NAME}: put one of them there, or in its subdirectory Img"
    )


def _find(root: pathlib.Path, subdirectory: str, name: str) -> pathlib.Path | None:
    candidates = (root / name, root / subdirectory / name)
    return next((path for path in candidates if path.exists()), None)


def _read_lines(path: pathlib.Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise contract.DatasetError(f"cannot read {path}: {error}") from error
