"""Reads CelebA's label files: a count, a line of names, and a line for each image.

A label file may also be CSV: see `label_tables`.
"""

import dataclasses
import hashlib
import re
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline import contract
from pipeline.process import wording
from pipeline.sources import text_files
from pipeline.sources.celeba import label_tables

_BLOCK_LINES = 8192
# Marks the end of a line. A label is smaller, because it has to fit in 16 bits.
_LINE_END = 1 << 16


@dataclasses.dataclass(frozen=True)
class Labels:
    """The labels of a file.

    Attributes:
        feature: Type and names of the labels.
        row_of: Row in `values` of each key.
        values: `[num_images, num_names]` integers.
        sha256: Hex sha256 of the file; for CSV, of the official text with the same
            content.
    """

    feature: contract.Feature
    row_of: Mapping[str, int]
    values: np.ndarray
    sha256: str

    def renamed(self, name_of: Mapping[str, str]) -> "Labels":
        """Returns the labels with more keys: a key gets the row of `name_of[key]`."""
        more = {key: self.row_of[name] for key, name in name_of.items()}
        return dataclasses.replace(self, row_of={**self.row_of, **more})

    def rows(self, keys: Sequence[str]) -> np.ndarray:
        """Returns the labels `[num_keys, num_names]`; an unknown key gets zeros."""
        zeros = np.zeros_like(self.values[:1])
        rows = [self.row_of.get(key, -1) for key in keys]
        return np.concatenate([self.values, zeros])[rows]


def read_labels(path: str, *, is_binary: bool) -> Labels:
    """Returns the labels of a file.

    Args:
        path: Path of `list_attr_celeba.txt` or `list_landmarks_align_celeba.txt`, or of
            such a file in CSV.
        is_binary: Whether labels are -1 or 1, returned as 0 or 1; otherwise they are
            pixel positions in the original image.

    Raises:
        DatasetError: If a line is malformed, or the number of lines differs from the
            announced number.
    """
    text, data = _read(path)
    if label_tables.is_table(text):
        text = label_tables.labels_text(path, text, is_binary=is_binary)
        data = text.encode()
    lines = text.splitlines()
    names = tuple(lines[1].split()) if len(lines) > 1 else ()
    if not names or not re.fullmatch(r"\s*\d{1,18}\s*", lines[0]):
        raise contract.DatasetError(
            f"{path} must begin with the number of images and a line of names, but "
            f"begins with {' / '.join(lines[:2])!r:.60}"
        )
    keys: list[str] = []
    blocks = [np.zeros((0, len(names)), np.int16)]
    # Parse in blocks: the fields of all lines would take most of a gigabyte.
    for start in range(2, len(lines), _BLOCK_LINES):
        block = [
            key_and_labels
            for line in lines[start : start + _BLOCK_LINES]
            if (key_and_labels := line.split(maxsplit=1))
        ]
        keys += [key for key, *_ in block]
        texts = [" ".join(rest) for _, *rest in block]
        values = _parse_at_once(texts, len(names))
        if values is None:
            values = _parse_by_field(texts, len(names))
        if values is None or (is_binary and not (np.abs(values) == 1).all()):
            raise contract.DatasetError(_bad_row(path, lines, len(names), is_binary))
        blocks.append(values)
    if int(lines[0]) != len(keys):
        raise contract.DatasetError(
            f"{path} announces {int(lines[0])} images, but has {len(keys)}: it was cut "
            "off; download it again"
        )
    if not keys:
        raise contract.DatasetError(f"{path} has no image")
    values = np.concatenate(blocks)
    if is_binary:
        values = (values > 0).astype(np.int8)
    return Labels(
        feature=contract.Feature(dtype="int64", shape=(len(names),), names=names),
        row_of={key: row for row, key in enumerate(keys)},
        values=values,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def read_partition_lines(path: str) -> tuple[list[str], str]:
    """Returns the lines of `list_eval_partition.txt`, or of CSV, and their sha256.

    Raises:
        DatasetError: If the file cannot be read, is not text, or is malformed CSV.
    """
    text, data = _read(path)
    if label_tables.is_table(text):
        text = label_tables.partition_text(path, text)
        data = text.encode()
    return text.splitlines(), hashlib.sha256(data).hexdigest()


def _read(path: str) -> tuple[str, bytes]:
    """Returns the text of a label file and its bytes; only CSV keeps its quotes."""
    text, data = text_files.read(path)
    if '"' in text and not label_tables.is_table(text):
        text = text.replace('"', "")
        data = text.encode()
    return text, data


def _parse_at_once(lines: Sequence[str], num_names: int) -> np.ndarray | None:
    """Returns `[num_lines, num_names]` int16, or None if a line is unusual.

    NumPy parses the numbers of all lines as one text, ten times as fast as single
    fields. A mark at the end of each line shows whether a line has too few or too many
    numbers.
    """
    text = f" {_LINE_END} ".join([*lines, ""])
    try:
        characters = np.frombuffer(text.encode("ascii"), np.uint8)
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            cells = np.fromstring(text, np.int64, sep=" ")
        cells = cells.reshape(len(lines), num_names + 1)
    except (ValueError, DeprecationWarning):
        return None
    # NumPy reads "1-1" as two numbers.
    is_sign = (characters == ord("-")) | (characters == ord("+"))
    are_signs_first = (characters[:-1][is_sign[1:]] == ord(" ")).all()
    values = cells[:, :-1].astype(np.int16)
    is_sound = are_signs_first and (values == cells[:, :-1]).all()
    return values if is_sound and (cells[:, -1] == _LINE_END).all() else None


def _parse_by_field(lines: Sequence[str], num_names: int) -> np.ndarray | None:
    """Returns `[num_lines, num_names]` int16, or None if a line is malformed."""
    rows = [line.split() for line in lines]
    if any(len(fields) != num_names for fields in rows):
        return None
    try:
        return np.array(rows, dtype=object).astype(np.int16)
    except (ValueError, OverflowError):
        return None


def _bad_row(path: str, lines: Sequence[str], num_names: int, is_binary: bool) -> str:
    allowed = "-1 or 1" if is_binary else "a whole number of pixels"
    for number, line in enumerate(lines[2:], start=3):
        fields = line.split()
        problem = ""
        if fields and len(fields) != num_names + 1:
            num_values = wording.counted(len(fields) - 1, "value")
            problem = f"has {num_values} for {wording.counted(num_names, 'name')}"
        for field in fields[1:]:
            is_pixel = field.lstrip("-").isdecimal() and len(field) < 5
            if not (field in ("-1", "1") if is_binary else is_pixel):
                problem = f"has {field!r:.20}, which is not {allowed}"
        if problem:
            return f"{path} line {number} {problem}: download the official file again"
    return f"{path} is malformed: download the official file again"
