"""Converts CelebA's label files in CSV, as Kaggle has them, to the official text.

list_eval_partition.csv           image_id,partition
list_attr_celeba.csv              image_id,5_o_Clock_Shadow,...
list_landmarks_align_celeba.csv   image_id,lefteye_x,...

Columns are found by their names, in any order and case. Columns of row numbers are left
out. The text equals the official file byte for byte. CSV and the official files
therefore give a dataset the same digest.

`pipeline.synthesize` writes its text in a slightly different layout. The number of
images decides between the two layouts.
"""

import csv
import dataclasses
import io
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from pipeline import contract
from pipeline.sources import splits
from pipeline.sources.celeba.attributes import ATTRIBUTE_NAMES, LANDMARK_NAMES
from pipeline.sources.listing.archives import SUFFIXES

# Number of images in CelebA. The lines of its official files end in CRLF.
OFFICIAL_IMAGES = 202_599

_KEY_NAMES = (
    "image_id",
    "image",
    "image_name",
    "filename",
    "file_name",
    "file",
    "name",
)
_SPLIT_NAMES = ("partition", "split", "set", "subset")
# Names of the column of row numbers that pandas writes by default.
_ROW_NUMBERS = re.compile(r"(unnamed.*|index|)")

_SIGN_OF: Mapping[str, int] = {
    **dict.fromkeys(("1", "1.0", "+1", "true", "yes"), 1),
    **dict.fromkeys(("-1", "-1.0"), -1),
    **dict.fromkeys(("0", "0.0", "false", "no"), 0),
}
_NUMBER_OF_SPLIT: Mapping[str, int] = {
    **{str(number): number for number in range(len(contract.SPLITS))},
    **{
        name: contract.SPLITS.index(split)
        for name, split in splits.SPLIT_OF_NAME.items()
    },
}


def is_table(text: str) -> bool:
    """Returns whether the text of labels is CSV.

    Example:
        >>> is_table("image_id,partition"), is_table("000001.jpg 0")
        (True, False)
    """
    return _delimiter(text) is not None


def partition_text(path: str, text: str) -> str:
    """Returns the text of `list_eval_partition.txt` for a CSV table.

    Args:
        path: Path of the table, for error messages.
        text: Content of the table.

    Raises:
        DatasetError: If the table is malformed.
    """
    table = _read(path, text)
    named = [at for at, name in table.names.items() if name.lower() in _SPLIT_NAMES]
    columns = named or list(table.names)
    if len(columns) != 1:
        raise contract.DatasetError(
            f"{path} has the columns {', '.join(table.header)!r:.99}: expected "
            "image_id and partition"
        )
    lines = []
    for number, key, cells in table.rows():
        cell = cells[columns[0]]
        split = _NUMBER_OF_SPLIT.get(cell.lower().removesuffix(".0"))
        if split is None:
            raise contract.DatasetError(
                f"{path} line {number} has {cell!r:.20} for {key}: expected 0 (train), "
                "1 (validation) or 2 (test)"
            )
        lines.append(f"{key} {split}")
    return partition_layout(lines)


def labels_text(path: str, text: str, *, is_binary: bool) -> str:
    """Returns the text of `list_attr_celeba.txt` or `list_landmarks_align_celeba.txt`.

    Args:
        path: Path of the table, for error messages.
        text: Content of the table.
        is_binary: Whether labels are attributes (-1 or 1, 0 or 1, False or True);
            otherwise they are pixel positions.

    Raises:
        DatasetError: If the table is malformed, or has no header.
    """
    table = _read(path, text)
    if not table.header or not table.names:
        raise contract.DatasetError(
            f"{path} has no header line with image_id and the names of the labels: add "
            "the line, or download the file again"
        )
    official = ATTRIBUTE_NAMES if is_binary else LANDMARK_NAMES
    name_of = {simplified(name): name for name in official}
    name_of_column = {
        at: name_of.get(simplified(name), name) for at, name in table.names.items()
    }
    columns = list(name_of_column)
    if sorted(name_of_column.values()) == sorted(official):
        columns.sort(key=lambda at: official.index(name_of_column[at]))
    value_of = _SIGN_OF if is_binary else {}
    keys: list[str] = []
    rows: list[list[int]] = []
    for number, key, cells in table.rows():
        keys.append(key)
        try:
            rows.append([_value(cells[at], value_of) for at in columns])
        except ValueError as error:
            allowed = "-1 or 1" if is_binary else "a whole number of pixels"
            raise contract.DatasetError(
                f"{path} line {number} has {error.args[0]!r:.20}, which is not "
                f"{allowed}"
            ) from error
    if is_binary:
        if {-1, 0} <= set(itertools.chain.from_iterable(rows)):
            raise contract.DatasetError(
                f"{path} has -1 and 0 (or False): expected -1 and 1, or 0 and 1"
            )
        rows = [[value or -1 for value in row] for row in rows]
    return labels_layout([name_of_column[at] for at in columns], keys, rows, is_binary)


def partition_layout(lines: Sequence[str]) -> str:
    """Returns the official partition text of lines with a file name and a number."""
    return _line_end(len(lines)).join([*lines, ""])


def labels_layout(
    names: Sequence[str],
    keys: Sequence[str],
    rows: Sequence[Sequence[int]],
    is_binary: bool,
) -> str:
    """Returns labels in the layout of the official file or of `pipeline.synthesize`."""
    is_official = len(keys) == OFFICIAL_IMAGES
    width = 2 if is_binary else 4
    first_width = 1 if is_official else width
    last = "" if is_official and not is_binary else " "
    lines = [f"{len(keys)}", f"{' '.join(names)}{last}"]
    for key, row in zip(keys, rows, strict=True):
        others = "".join([f" {value:{width}}" for value in row[1:]])
        lines.append(f"{key} {row[0]:{first_width}}{others}")
    return _line_end(len(keys)).join([*lines, ""])


def _line_end(num_images: int) -> str:
    return "\r\n" if num_images == OFFICIAL_IMAGES else "\n"


@dataclasses.dataclass(frozen=True)
class _Table:
    """A CSV file.

    Attributes:
        path: Path of the file, for error messages.
        text: Content of the file.
        header: Names of all columns; empty if the file has no header.
        key: Index of the column of file names.
        names: Name of each other column, by index, without columns of row numbers.
    """

    path: str
    text: str
    header: Sequence[str]
    key: int
    names: Mapping[int, str]

    def rows(self) -> Iterator[tuple[int, str, list[str]]]:
        """Yields the number of each line, its file name and its cells."""
        num_columns = len(self.names) + 1
        lines = _lines(self.path, self.text)
        for place, (number, cells) in enumerate(lines):
            if place == 0:
                num_columns = len(cells)
                if self.header:
                    continue
            if len(cells) != num_columns:
                raise contract.DatasetError(
                    f"{self.path} line {number} has {len(cells)} columns, but the "
                    f"first line has {num_columns}: download the file again"
                )
            yield number, official_key(cells[self.key]), cells


def _read(path: str, text: str) -> _Table:
    first, second = ([*itertools.islice(_lines(path, text), 2), (0, []), (0, [])])[:2]
    header = [] if any(map(_is_image, first[1])) else first[1]
    images = [
        at
        for at, cell in enumerate(second[1] if header else first[1])
        if _is_image(cell)
    ]
    named = [at for at, name in enumerate(header) if name.lower() in _KEY_NAMES]
    if not images and not named:
        raise contract.DatasetError(
            f"{path} begins with {','.join(first[1])!r:.60}, and has no column of file "
            "names such as 000001.jpg: expected a column image_id"
        )
    key = (images or named)[0]
    names = {
        at: header[at] if header else ""
        for at in range(len(first[1]))
        if at != key and not (header and _ROW_NUMBERS.fullmatch(header[at].lower()))
    }
    return _Table(path, text, header, key, names)


def _lines(path: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the number and the cells of each line that is not empty."""
    delimiter = _delimiter(text) or ","
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise contract.DatasetError(
            f"{path} line {reader.line_num} is not CSV: {error}; download the file "
            "again"
        ) from error


def _delimiter(text: str) -> str | None:
    first = text.lstrip().partition("\n")[0]
    return next((sign for sign in ",;" if sign in first), None)


def official_key(cell: str) -> str:
    """Returns the official file name for a name in a table.

    The name in the table may have a folder, and another suffix than `.jpg`.

    Example:
        >>> official_key("img_align_celeba/000001.PNG"), official_key("mine.png")
        ('000001.jpg', 'mine.png')
    """
    name = cell.replace("\\", "/").rpartition("/")[2]
    number, suffix = os.path.splitext(name)
    is_official = re.fullmatch(r"\d{6}", number) and suffix.lower() in SUFFIXES
    return f"{number}.jpg" if is_official else name


def _is_image(cell: str) -> bool:
    return cell.lower().endswith(SUFFIXES)


def simplified(name: str) -> str:
    """Returns a column's name in a form that all its spellings share.

    Example:
        >>> simplified("5 o'Clock Shadow"), simplified("5_o_Clock_Shadow")
        ('5oclockshadow', '5oclockshadow')
    """
    return re.sub(r"[\W_]+", "", name).lower()


def _value(cell: str, value_of: Mapping[str, int]) -> int:
    """Returns the label in a cell; a `ValueError` carries the cell as its argument."""
    if value_of:
        value = value_of.get(cell) or value_of.get(cell.lower())
    else:
        is_whole = re.fullmatch(r"[+-]?\d{1,4}(\.0*)?", cell)
        value = int(cell.partition(".")[0]) if is_whole else None
    if value is None:
        raise ValueError(cell)
    return value
