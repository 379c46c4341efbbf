"""Reads CelebA from Parquet files, as Hugging Face distributes it.

The result equals the content of the official files. A row has these columns:

- an image, as a struct of its `bytes` and its file name, `path`
- a column for each attribute, or a single column for all of them
- perhaps a column for each landmark

The name of the file or its folder gives the split. Other columns, such as `celeb_id`,
are not used.

Some data sets have no file names, because their images were written again as PNG. Their
rows get CelebA's file names if the attributes equal all of CelebA's, in its order.
"""

import dataclasses
import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from pipeline import contract
from pipeline.sources.celeba import celeba_columns, label_tables, parquet_files
from pipeline.sources.celeba.labels import Labels
from pipeline.sources.celeba.parquet_reader import MISSING, ParquetReader, read_rows
from pipeline.sources.listing import archives, file_states
from pipeline.storage import path_resolution

# MD5 of list_attr_celeba.txt, as torchvision checks it.
OFFICIAL_ATTRIBUTES_MD5 = "75e246fa4810816ffd6ee81facbd244c"


@dataclasses.dataclass(frozen=True)
class Content:
    """The partition, labels and images in the files.

    Attributes:
        split_of: Split of each key, sorted by key.
        partition_sha256: Hex sha256 of the partition in the official text format.
        tables: Labels by feature.
        index: Index of the images.
    """

    split_of: Mapping[str, str]
    partition_sha256: str
    tables: Mapping[str, Labels]
    index: archives.ImageIndex


def read(file_paths: Mapping[str, Sequence[str]], root: str) -> Content:
    """Returns the content of the files.

    This reads every image once, for its size and CRC-32.

    Args:
        file_paths: Paths of each split's files, in order.
        root: Directory of the files, for error messages.

    Raises:
        DatasetError: If a file is not Parquet, is damaged, or lacks a column; if a
            label has a wrong value; or if images have no names, or two have the same.
    """
    files = [(path, split) for split in contract.SPLITS for path in file_paths[split]]
    states = {path: file_states.find(path) for path, _ in files}
    names: list[str | None] = []
    splits: list[str] = []
    locations: list[tuple[int, ...]] = []
    values: dict[str, list[np.ndarray]] = {}
    columns = None
    for number, (path, split) in enumerate(files):
        with parquet_files.opened(path, is_large=False) as file:
            file_columns = celeba_columns.find_columns(
                path, file.schema_arrow, is_first=number == 0
            )
            columns = columns or file_columns
            if file_columns != columns:
                raise contract.DatasetError(
                    f"{path} has other columns than {files[0][0]}: they belong to "
                    "different data sets"
                )
            names += celeba_columns.read_names(file, file_columns)
            for feature, (its_names, its_paths) in file_columns.labels.items():
                table = file.read(list(its_paths), use_threads=False)
                cells = celeba_columns.read_labels(
                    path, feature, table, its_names, its_paths
                )
                values.setdefault(feature, []).append(cells)
        with parquet_files.opened(path, is_large=True) as file:
            locations += [(number, *rest) for rest in _locate(file, file_columns.image)]
        splits += [split] * (len(names) - len(splits))
    assert columns is not None
    if len(locations) != len(names):
        raise contract.DatasetError(
            f"{root} has different numbers of rows and images: download it again"
        )
    features = {
        feature: (columns.labels[feature][0], np.concatenate(blocks))
        for feature, blocks in values.items()
    }
    keys = _keys(root, names, features)
    order = sorted(range(len(keys)), key=keys.__getitem__)
    keys = [keys[row] for row in order]
    for key, following in zip(keys, keys[1:], strict=False):
        if key == following:
            raise contract.DatasetError(
                f"{root} has two images named {key}: remove one of their files"
            )
    split_of = {key: splits[row] for key, row in zip(keys, order, strict=True)}
    for path, state in states.items():
        file_states.check_same(path, state, file_states.find(path))
    located = {
        key: (number, group, row, num_bytes, crc)
        for key, (number, group, row, num_bytes, crc) in zip(
            keys, (locations[row] for row in order), strict=True
        )
        if num_bytes >= 0
    }
    return Content(
        split_of=split_of,
        partition_sha256=_sha256(_partition(split_of)),
        tables={
            feature: _labels(root, feature, keys, its_names, cells[order])
            for feature, (its_names, cells) in features.items()
        },
        index=archives.ImageIndex(
            path=root,
            locations=located,
            sizes={key: location[3] for key, location in located.items()},
            missing=MISSING,
            reader=ParquetReader(
                {path_resolution.resolve(path): states[path] for path in states},
                columns.image,
            ),
        ),
    )


def _locate(file: Any, column: str) -> Iterator[tuple[int, int, int, int]]:
    """Yields the row group, row, size and CRC-32 of each image.

    A row without an image has the size -1 and the CRC-32 0.
    """
    for group in range(file.num_row_groups):
        for row, data in read_rows(file, group, column):
            if data is None:
                yield group, row, -1, 0
            else:
                yield group, row, len(data), zlib.crc32(data)


def _keys(
    root: str,
    names: Sequence[str | None],
    features: Mapping[str, tuple[Sequence[str], np.ndarray]],
) -> list[str]:
    keys = [label_tables.official_key(name) for name in names if name]
    if len(keys) == len(names):
        return keys
    by_place = [f"{place:06d}.jpg" for place in range(1, len(names) + 1)]
    if not keys and "attributes" in features:
        its_names, values = features["attributes"]
        text = _labels_text(root, "attributes", by_place, its_names, values)
        md5 = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        if md5 == OFFICIAL_ATTRIBUTES_MD5:
            logging.info(
                "the images have no names: they are named by their order, because "
                "their attributes are those of CelebA"
            )
            return by_place
    raise contract.DatasetError(
        f"{root} has {len(names) - len(keys)} of {len(names)} images without a file "
        "name such as 000001.jpg in image.path. Images can be named by their order "
        "only if their attributes are those of all CelebA: give Parquet files with "
        "names, Kaggle's files or the official files"
    )


def _labels(
    root: str,
    feature: str,
    keys: Sequence[str],
    names: Sequence[str],
    values: np.ndarray,
) -> Labels:
    text = _labels_text(root, feature, keys, names, values)
    if feature == "attributes":
        values = (values > 0).astype(np.int8)
    return Labels(
        feature=contract.Feature("int64", (len(names),), tuple(names)),
        row_of={key: row for row, key in enumerate(keys)},
        values=values,
        sha256=_sha256(text),
    )


def _labels_text(
    root: str,
    feature: str,
    keys: Sequence[str],
    names: Sequence[str],
    values: np.ndarray,
) -> str:
    """Returns labels in the official text format."""
    if feature == "attributes":
        distinct = set(np.unique(values).tolist())
        if not (distinct <= {-1, 1} or distinct <= {0, 1}):
            raise contract.DatasetError(
                f"{root} has attributes with the values "
                f"{', '.join(map(str, sorted(distinct))):.60}: expected booleans, -1 "
                "and 1, or 0 and 1"
            )
        values = np.where(values > 0, 1, -1)
    return label_tables.labels_layout(
        names, keys, values.tolist(), is_binary=feature == "attributes"
    )


def _partition(split_of: Mapping[str, str]) -> str:
    return label_tables.partition_layout(
        [f"{key} {contract.SPLITS.index(split)}" for key, split in split_of.items()]
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
