"""Reads text files, such as lists and labels: UTF-8, or UTF-16 with a byte order mark.

Notepad and PowerShell write UTF-16. A web page or a pointer of Git LFS in place of the
file is named.
"""

import codecs

from pipeline import contract
from pipeline.images import file_types
from pipeline.process import wording
from pipeline.storage import paths

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_QUOTES = "\"'"


def read(path: str) -> tuple[str, bytes]:
    """Returns the text of a file, and its bytes.

    The bytes of UTF-16 text are returned in UTF-8, so that their hash is the hash of
    the same text in UTF-8.

    Raises:
        DatasetError: If the file cannot be read, or is not text.
    """
    try:
        data = paths.read_bytes(path)
    except OSError as error:
        raise contract.DatasetError(
            f"cannot read {path}: {wording.cause(error)}"
        ) from error
    _check_is_text(path, data)
    is_utf16 = data.startswith(_UTF16_MARKS)
    try:
        text = data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        cause = "it is damaged UTF-16 text" if is_utf16 else wording.cause(error)
        raise contract.DatasetError(
            f"cannot read {path}: {cause}: save the file as UTF-8"
        ) from error
    return text, text.encode() if is_utf16 else data


def read_lines(path: str) -> list[str]:
    """Returns the lines of a text file.

    Raises:
        DatasetError: If the file cannot be read, or is not text.
    """
    return read(path)[0].splitlines()


def unquoted(text: str) -> str:
    """Returns text without white space around it, and without quotes around that.

    Example:
        >>> unquoted(' "cat/1.jpg" '), unquoted("it's.jpg")
        ('cat/1.jpg', "it's.jpg")
    """
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES:
        return text[1:-1]
    return text


def _check_is_text(path: str, data: bytes) -> None:
    """Checks that a file is not one of the files that often stand in place of a list.

    Raises:
        DatasetError: If it is.
    """
    head = data[:1024]
    if file_types.is_pointer(head):
        fault = "a Git LFS pointer: run git lfs pull in its directory"
    elif file_types.is_html(head):
        fault = "an HTML page, not a text file: download it again"
    elif head.startswith(b"PK\x03\x04"):
        fault = "a zip or a spreadsheet, not a text file: unpack it, or save it as CSV"
    # In UTF-16, every second byte of Latin letters is zero.
    elif 4 * head.count(0) > len(head) and not data.startswith(_UTF16_MARKS):
        fault = "not UTF-8 text, because it has zero bytes: save it as UTF-8"
    else:
        return
    raise contract.DatasetError(f"{path} is {fault}")
