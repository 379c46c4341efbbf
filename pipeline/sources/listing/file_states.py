"""Sizes and times of files, which show whether a file changed after it was listed.

A dataset carries the fingerprint of its listing. A file that changes after it was
listed would bring images into the dataset that the fingerprint does not cover.
"""

from pipeline import contract
from pipeline.process import wording
from pipeline.storage import paths

# Size in bytes, and modification time in nanoseconds since the epoch.
State = tuple[int, int]


def find(path: str) -> State:
    """Returns the state of a file, local or in a bucket; zeros if it is missing.

    Raises:
        DatasetError: If the state cannot be read.
    """
    entry = paths.find(path)
    return (0, 0) if entry is None else (entry.num_bytes, entry.modified_ns)


def check_same(path: str, listed: State, current: State) -> None:
    """Checks that a file did not change after it was listed.

    Args:
        path: Path of the file, for the error message.
        listed: State of the file when it was listed.
        current: State of the file when it was read.

    Raises:
        DatasetError: If the states differ.

    Example:
        >>> check_same("faces/1.jpg", (700, 0), (699, 0))
        Traceback (most recent call last):
        pipeline.contract.DatasetError: faces/1.jpg changed after it was listed (699 B \
instead of 700): restore it, or leave it as it is now, and make the same call again
    """
    if listed == current:
        return
    differs = "its modification time"
    if listed[0] != current[0]:
        differs = f"{current[0]:,} B instead of {listed[0]:,}"
    raise contract.DatasetError(
        f"{path} changed after it was listed ({differs}): restore it, or leave it as "
        "it is now, and make the same call again"
    )


def unreadable(path: str, error: OSError) -> contract.DatasetError:
    """Returns the error for a listed file that cannot be read."""
    return contract.DatasetError(
        f"cannot read {path}: {wording.cause(error)}; restore it, and make the same "
        "call again"
    )
