"""Files that are there in full, or not at all."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


def temporary_path(path: pathlib.Path) -> pathlib.Path:
    """Returns the name under which a file is written before it is renamed."""
    return path.with_name(f".{path.name}.tmp")


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives the name under which to write a file, which then is renamed.

    Raises:
        OSError: If it cannot be renamed. Then, and if writing fails, what was there
            before stays, and nothing else.
    """
    temporary = temporary_path(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: pathlib.Path, data: bytes) -> None:
    """Writes a file under a temporary name, then renames it.

    Raises:
        OSError: If it cannot be written; what was there before stays.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)
