"""Files that exist in full or not at all, even after a loss of power."""

import contextlib
import pathlib
from collections.abc import Iterator

from pipeline.storage import files


def temporary_path(path: pathlib.Path) -> pathlib.Path:
    """Returns the temporary path of a file that is later renamed to `path`."""
    return path.with_name(f".{path.name}.tmp")


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary name to write to, then renames that file; see `files`.

    Raises:
        OSError: If the file cannot be written or renamed. In this case, and if the
            caller fails, the old file stays.
    """
    temporary = temporary_path(path)
    # If a link or a pipe had this name, a write would follow the link or hang.
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
        OSError: If the file cannot be written; the old file stays.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)
