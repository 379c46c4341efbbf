"""Files of a run that are there in full or not at all, even after a loss of power."""

import contextlib
import pathlib
from collections.abc import Iterator

from pipeline.storage import files


def temporary_path(path: pathlib.Path) -> pathlib.Path:
    """Returns the name under which a file is written before it is renamed."""
    return path.with_name(f".{path.name}.tmp")


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives the name under which to write a file, which then is renamed; see `files`.

    Raises:
        OSError: If it cannot be written or renamed. What was there before stays then,
            also if the caller fails.
    """
    temporary = temporary_path(path)
    # A link would lead what is written elsewhere, and a pipe would take it for ever.
    files.discard(temporary)
    try:
        with files.naming(path):
            yield temporary
        files.put(temporary, path)
    finally:
        files.discard(temporary)


def write(path: pathlib.Path, data: bytes) -> None:
    """Writes a file under a temporary name, then renames it.

    Raises:
        OSError: If it cannot be written; what was there before stays.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)
