"""Locks a directory for one process, until the process ends."""

import contextlib
import fcntl
import os
import pathlib

from absl import logging


class DirectoryLock:
    """A lock on a directory, held by one process until it closes the lock or ends.

    The directory itself is locked, because a file in it may be removed or replaced. A
    file in it is locked too, because some network file systems cannot lock directories.
    """

    def __init__(self, directory: pathlib.Path, path: pathlib.Path) -> None:
        """Locks the directory.

        Args:
            directory: Directory to lock.
            path: Path of the lock file in the directory; made if it does not exist.

        Raises:
            BlockingIOError: If another process holds the lock.
            OSError: If the lock file cannot be opened, or is a link or a pipe.
        """
        self._opened: list[int] = []
        self._locked: list[tuple[pathlib.Path, int]] = []
        # A link would make the file elsewhere, and opening a pipe would wait.
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
                "cannot lock %s, because its file system has no locks: let only one "
                "process at a time use it",
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
        """Returns whether the locked path was neither removed nor replaced."""
        # The first lock is the directory's, if the file system locks directories.
        for path, opened in self._locked[:1]:
            try:
                return os.path.samestat(os.stat(path), os.fstat(opened))
            except FileNotFoundError:
                return False
        return True

    def close(self) -> None:
        """Releases the lock."""
        self._locked.clear()
        while self._opened:
            os.close(self._opened.pop())

    def __enter__(self) -> "DirectoryLock":
        """Returns the lock itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Releases the lock."""
        self.close()

    def __del__(self) -> None:
        """Releases the lock once nothing refers to it, as Python does for files."""
        self.close()
