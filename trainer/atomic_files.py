"""Files that are there in full, or not at all."""

import os
import pathlib


def temporary_path(path: pathlib.Path) -> pathlib.Path:
    """Returns the name under which a file is written before it is renamed."""
    return path.with_name(f".{path.name}.tmp")


def write(path: pathlib.Path, data: bytes) -> None:
    """Writes a file under a temporary name, then renames it.

    Raises:
        OSError: If it cannot be written; what was there before stays.
    """
    temporary = temporary_path(path)
    temporary.write_bytes(data)
    os.replace(temporary, path)
