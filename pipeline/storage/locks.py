"""A lock on a directory, which one process holds until it ends."""

import contextlib
import fcntl
import os
import pathlib

from absl import logging


class DirectoryLock:
    """A directory that one process holds, until it closes the lock or ends.

    The directory itself is locked, as a file in it may be removed or replaced, and a
    file in it, as some network file systems lock no directories.
    """

    def __init__(self, directory: pathlib.Path, path: pathlib.Path) -> None:
        """Locks it.

        Args:
            directory: What to hold.
            path: Of the file in it, which is made if it is not there.

        Raises:
            BlockingIOError: If another process holds it.
            OSError: If the file cannot be opened, or is a link or a pipe.
        """
        self._opened: list[int] = []
        self._locked: list[tuple[pathlib.Path, int]] = []
        # A link would make a file elsewhere, and a pipe would wait for a reader.
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            with contextlib.suppress(PermissionError):
                self._lock(directory, os.open(directory, os.O_RDONLY))
            self._lock(path, os.open(path, flags, 0o666))
        except BaseException:
            self.close()
            raise
        if not self._locked:
            logging.warning(
                "cannot lock %s: its file system has no locks, so give it to one "
                "process at a time",
                directory,
            )

    def _lock(self, path: pathlib.Path, opened: int) -> None:
        self._opened.append(opened)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            # Some network file systems have no locks.
            return
        self._locked.append((path, opened))

    def is_held(self) -> bool:
        """Returns whether what is locked is still where it was, and not replaced."""
        # The first is the directory, wherever one can be locked.
        for path, opened in self._locked[:1]:
            try:
                return os.path.samestat(os.stat(path), os.fstat(opened))
            except FileNotFoundError:
                return False
        return True

    def close(self) -> None:
        """Lets others have it."""
        self._locked.clear()
        while self._opened:
            os.close(self._opened.pop())

    def __enter__(self) -> "DirectoryLock":
        """Returns it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    def __del__(self) -> None:
        """Closes it, as a file that nobody holds any more."""
        self.close()
