"""Finds and reads the columns of CelebA's Parquet files: images, names, labels."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from absl import logging
from pyarrow import compute

from pipeline import contract
from pipeline.process import wording
from pipeline.sources.celeba import label_tables
from pipeline.sources.celeba.attributes import ATTRIBUTE_NAMES, LANDMARK_NAMES
from pipeline.sources.celeba.parquet_reader import leaf

_IMAGE_NAMES = ("image", "img")
# Columns of file names, besides the path in the image. A column `name` is not used,
# because it may hold the name of a person.
_FILE_NAMES = ("image_id", "image_name", "file_name", "filename")
# Official names of each feature, and names of columns that hold a whole feature.
_LABELS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "attributes": (ATTRIBUTE_NAMES, ("attributes", "attr", "attrs")),
    "landmarks": (LANDMARK_NAMES, ("landmarks",)),
}
# Largest allowed landmark coordinate in pixels: no image is that large.
_MAX_PIXELS = 9999


@dataclasses.dataclass(frozen=True)
class Columns:
    """Paths of the columns that a file has, such as `image.bytes`.

    Attributes:
        image: Column of the images' bytes.
        name: Column of the images' file names, or None.
        labels: Official names and their columns, by feature. A single column for
            several names holds lists, with a value for each name.
    """

    image: str
    name: str | None
    labels: Mapping[str, tuple[Sequence[str], Sequence[str]]]


def find_columns(path: str, schema: pa.Schema, *, is_first: bool) -> Columns:
    """Returns the columns of images, file names and labels in a file.

    Args:
        path: Path of the file, for error messages.
        schema: Schema of the file.
        is_first: Whether this is the first file, whose columns are logged.

    Raises:
        DatasetError: If the file has no column of images.
    """
    image, name, used = _find_image(path, schema)
    labels = {}
    for feature, (official, whole) in _LABELS.items():
        name_of = {label_tables.simplified(each): each for each in official}
        path_of = {}
        for field in schema:
            is_whole = field.name.lower() in whole
            if is_whole and _is_list(field.type):
                labels[feature] = official, (field.name,)
                used.add(field.name)
            inner = field.type if is_whole and pa.types.is_struct(field.type) else ()
            for cell, its_path in (
                (field.name, field.name),
                *((each.name, f"{field.name}.{each.name}") for each in inner),
            ):
                its_name = name_of.get(label_tables.simplified(cell))
                if its_name is not None:
                    path_of[its_name] = its_path
                    used.add(field.name)
        if path_of:
            present = [each for each in official if each in path_of]
            labels[feature] = present, [path_of[each] for each in present]
    if is_first:
        unused = [each for each in schema.names if each not in used]
        for feature, (official, _) in _LABELS.items():
            number = len(labels[feature][0]) if feature in labels else 0
            logging.info("columns hold %d of %d %s", number, len(official), feature)
        if unused:
            logging.info("unused columns: %s", ", ".join(unused))
    return Columns(image, name, labels)


def _find_image(path: str, schema: pa.Schema) -> tuple[str, str | None, set[str]]:
    """Returns the paths of image bytes and file names, and the columns they lie in."""
    texts = {field.name.lower(): field.name for field in schema if _is_text(field.type)}
    names = [texts[each] for each in _FILE_NAMES if each in texts]
    name = names[0] if names else None
    for field in schema:
        if field.name.lower() in _IMAGE_NAMES:
            if _is_bytes(field.type):
                return field.name, name, {field.name, *names[:1]}
            inner = (
                {each.name: each.type for each in field.type}
                if pa.types.is_struct(field.type)
                else {}
            )
            if _is_bytes(inner.get("bytes")):
                if _is_text(inner.get("path")) and name is None:
                    name = f"{field.name}.path"
                return f"{field.name}.bytes", name, {field.name, *names[:1]}
    columns = ", ".join(f"{field.name} ({field.type!s:.40})" for field in schema)
    raise contract.DatasetError(
        f"{path} has the columns {columns:.400}: expected attributes, and a column "
        "image that is a struct of bytes and path, as on Hugging Face"
    )


def _is_bytes(kind: pa.DataType | None) -> bool:
    types = pa.types
    return kind is not None and (types.is_binary(kind) or types.is_large_binary(kind))


def _is_text(kind: pa.DataType | None) -> bool:
    types = pa.types
    return kind is not None and (types.is_string(kind) or types.is_large_string(kind))


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return (
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
    )


def read_names(file: Any, columns: Columns) -> list[str | None]:
    """Returns the file name of each row of a `pyarrow.parquet.ParquetFile`, or None."""
    if columns.name is None:
        return [None] * file.metadata.num_rows
    table = file.read([columns.name], use_threads=False)
    return leaf(table, columns.name).to_pylist()


def read_labels(
    path: str,
    feature: str,
    table: pa.Table,
    names: Sequence[str],
    paths: Sequence[str],
) -> np.ndarray:
    """Returns the labels of a feature, `[num_rows, num_names]` int16.

    Args:
        path: Path of the file, for error messages.
        feature: Name of the feature.
        table: Columns that were read from the file.
        names: Official names of the labels.
        paths: Paths of the labels' columns, from `find_columns`.

    Raises:
        DatasetError: If a value is missing, or cannot be a label.
    """
    if len(paths) < len(names):
        lists = leaf(table, paths[0])
        widths = compute.unique(compute.list_value_length(lists)).to_pylist()
        if widths != [len(names)] and len(table):
            raise contract.DatasetError(
                f"{path} has {feature} of {' and '.join(map(str, widths)):.40} "
                f"values, but CelebA has {len(names)}: give another `input`"
            )
        cells = compute.list_flatten(lists)
        return _as_integers(path, feature, cells).reshape(len(table), len(names))
    cells = [_as_integers(path, each, leaf(table, each)) for each in paths]
    return np.stack(cells, axis=1)


def _as_integers(path: str, name: str, cells: pa.ChunkedArray) -> np.ndarray:
    types, kind = pa.types, cells.type
    is_number = types.is_integer(kind) or types.is_floating(kind)
    problem = "" if is_number or types.is_boolean(kind) else f"is of type {kind}"
    if cells.null_count:
        problem = f"lacks {wording.counted(cells.null_count, 'value')}"
    try:
        values = np.zeros(0) if problem else cells.cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        values, problem = np.zeros(0), "has values that are not integers"
    if not problem and np.any((values < -_MAX_PIXELS) | (values > _MAX_PIXELS)):
        problem = f"has values outside -{_MAX_PIXELS} to {_MAX_PIXELS}"
    if problem:
        raise contract.DatasetError(
            f"{path}: the column {name} {problem}: expected booleans, 0 or 1, or -1 or "
            "1 for attributes, and integers for landmarks"
        )
    return values.astype(np.int16)
