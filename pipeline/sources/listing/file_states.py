"""Files of a source, compared with the listing of it.

A dataset has the fingerprint of its listing. A file that changes after it was listed
would bring images of another source into it.
"""

from pipeline import contract
from pipeline.storage import paths

# Size in bytes, and time of modification in nanoseconds since the epoch.
State = tuple[int, int]


def find(path: str) -> State:
    """Returns the state of a file, local or in a bucket; zeros if it is not there.

    Raises:
        DatasetError: If the state cannot be found out.
    """
    entry = paths.find(path)
    return (0, 0) if entry is None else (entry.num_bytes, entry.modified_ns)


def check_same(path: str, listed: State, current: State) -> None:
    """Checks that a file is as it was listed.

    Args:
        path: The file, for the error message.
        listed: Its state when it was listed.
        current: Its state when it was read.

    Raises:
        DatasetError: If the states differ.

    Example:
        >>> check_same("faces/1.jpg", (700, 0), (699, 0))
        Traceback (most recent call last):
        pipeline.contract.DatasetError: faces/1.jpg changed after it was listed (699 B \
instead of 700): restore it, or leave it as it is now, and run the same command again
    """
    if listed == current:
        return
    differs = "its time of modification"
    if listed[0] != current[0]:
        differs = f"{current[0]:,} B instead of {listed[0]:,}"
    raise contract.DatasetError(
        f"{path} changed after it was listed ({differs}): restore it, or leave it as "
        "it is now, and run the same command again"
    )


def unreadable(path: str, error: OSError) -> contract.DatasetError:
    """Returns the error of a file that was listed and cannot be read."""
    return contract.DatasetError(
        f"cannot read {path}: {error}; restore it, and run the same command again"
    )
