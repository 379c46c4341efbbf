"""Finds, opens and checks the Parquet files of a data set, as Hugging Face names them.

    DIR/data/train-00000-of-00019.parquet      the folder may have any name
    DIR/default/valid/0000.parquet             as Hugging Face converts a data set

Links to files are followed, because a download cache keeps its files under other names.
pyarrow comes with Beam, and is imported when the first file is opened.
"""

import collections
import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import logging

from pipeline import contract
from pipeline.images import file_types
from pipeline.process import wording
from pipeline.sources import splits
from pipeline.storage import files, paths

SUFFIX = ".parquet"

# Split, number of the file, number of files, and a hash; each part may be missing.
_NAME = re.compile(r"([a-z]*)[-_]?(?:(\d+)(?:-of-(\d+))?)?(?:-[0-9a-f]+)?", re.I)
# Bytes to read at a time from a column of images.
_BUFFER_BYTES = 8 << 20
_NUM_NAMED = 4


def find(input_dir: str) -> dict[str, list[str]]:
    """Returns the paths of each split's files, in order; empty without Parquet files.

    Raises:
        DatasetError: If the files lie in several directories, a name has no split, or a
            file or a split is missing.
    """
    homes: dict[str, dict[str, list[str]]] = {}
    for entry in paths.walk(input_dir):
        if entry.name.lower().endswith(SUFFIX) and "/." not in f"/{entry.name}":
            home, split = _place(entry.name)
            homes.setdefault(home, {}).setdefault(split, []).append(entry.name)
    if not homes:
        return {}
    if len(homes) > 1:
        raise contract.DatasetError(
            f"input={input_dir} has Parquet files in several directories "
            f"({_listed(sorted(homes))}): give one of them as `input`"
        )
    ((home, names_of),) = homes.items()
    root = paths.join(input_dir, home) if home else input_dir
    if unknown := names_of.get(""):
        raise contract.DatasetError(
            f"input={root} has Parquet files whose names have no split "
            f"({_listed(sorted(unknown))}): rename them as on Hugging Face, such as "
            "train-00000-of-00001.parquet; the other splits are validation (or valid, "
            "or val) and test"
        )
    absent = [split for split in contract.SPLITS if split not in names_of]
    if absent:
        present = _listed(sorted(name for names in names_of.values() for name in names))
        raise contract.DatasetError(
            f"input={root} has no Parquet file of split {' or '.join(absent)}, "
            f"only {present}: download the files of all splits"
        )
    number = wording.counted(sum(map(len, names_of.values())), "Parquet file")
    logging.info("reading %s in %s", number, root)
    return {
        split: [paths.join(input_dir, name) for name in _in_order(root, names)]
        for split, names in names_of.items()
    }


@contextlib.contextmanager
def opened(path: str, *, is_large: bool) -> Iterator[Any]:
    """Opens a file as a `pyarrow.parquet.ParquetFile`.

    Args:
        path: Path or URL of the file.
        is_large: Whether to read columns in pieces. Columns of images need pieces,
            because a row group may have any size. Other columns take one request.

    Raises:
        DatasetError: If the file is not a Parquet file, or the `with` block fails to
            read it.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with paths.open_file(path) as file:
            # pyarrow requests the exact ranges that it needs, so a URL is not buffered.
            source = file.raw if paths.is_url(path) else file
            buffer_bytes = _BUFFER_BYTES if is_large else 0
            yield parquet.ParquetFile(
                source, pre_buffer=not is_large, buffer_size=buffer_bytes
            )
    except contract.DatasetError:
        raise
    except (pa.ArrowException, *files.ARCHIVE_ERRORS) as error:
        # pyarrow also raises OSError for damage, but without an error number.
        if isinstance(error, OSError) and error.errno is not None:
            raise contract.DatasetError(
                f"cannot read {path}: {wording.cause(error)}"
            ) from error
        raise contract.DatasetError(f"{path} {_fault(path, error)}") from error


def _place(name: str) -> tuple[str, str]:
    """Returns the directory of a file's data set, and the split of the file if any.

    Example:
        >>> _place("data/valid-00000-of-00003.parquet"), _place("a/test/0000.parquet")
        (('data', 'validation'), ('a', 'test'))
    """
    folder, _, base = name.rpartition("/")
    split = splits.SPLIT_OF_NAME.get(_parsed(base)[0])
    above, _, last = folder.rpartition("/")
    its_split = splits.SPLIT_OF_NAME.get(last.lower())
    if its_split and split in (None, its_split):
        return above, its_split
    return folder, split or ""


def _parsed(base: str) -> tuple[str, int | None, int | None]:
    """Returns a name's first word, number of the file and number of files, if any."""
    stem = base[: -len(SUFFIX)]
    match = _NAME.fullmatch(stem)
    if match is None:
        return re.split(r"[^a-z]", stem.lower())[0], None, None
    word, *digits = match.groups()
    number, total = (int(each) if each else None for each in digits)
    return word.lower(), number, total


def _in_order(root: str, names: Sequence[str]) -> list[str]:
    """Returns a split's files in the order of their numbers, and checks for gaps."""
    parsed: Mapping[str, tuple[str, int | None, int | None]] = {
        name: _parsed(name.rpartition("/")[2]) for name in names
    }
    numbers = [number for _, number, _ in parsed.values() if number is not None]
    if not numbers:
        return sorted(names)
    totals = {total for _, _, total in parsed.values()}
    expected = max((total or 0 for total in totals), default=0) or max(numbers) + 1
    counts = collections.Counter(numbers)
    wrong = [number for number in range(expected) if counts[number] != 1]
    if wrong or len(names) != expected or len(totals) > 1:
        raise contract.DatasetError(
            f"input={root} has {wording.counted(len(names), 'Parquet file')} like "
            f"{sorted(names)[0]}, "
            f"but should have {expected}"
            f"{f' (missing or repeated number: {wrong[0]})' if wrong else ''}: "
            "download them again"
        )
    return sorted(names, key=lambda name: parsed[name][1] or 0)


def _fault(path: str, error: Exception) -> str:
    head = paths.read_range(path, 0, 1024)
    if file_types.is_pointer(head):
        return "is a Git LFS pointer: run git lfs pull in its directory"
    if file_types.is_html(head):
        return "is an HTML page, not a Parquet file: download it again"
    if not head.startswith(b"PAR1"):
        found = f"begins with {wording.shown(head[:8])}" if head else "is empty"
        return f"is not a Parquet file (it {found}): download it again"
    reason = " ".join(str(error).split())
    return f"is cut off or damaged ({reason:.200}): download it again"


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _NUM_NAMED else ""
    return ", ".join(name or "." for name in names[:_NUM_NAMED]) + more
