"""Memory, disk and ports of this machine."""

import os
import pathlib
import shutil
import socket

# Memory limits of a container, in both versions of cgroups.
_MEMORY_LIMITS = (
    pathlib.Path("/sys/fs/cgroup/memory.max"),
    pathlib.Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def memory_bytes() -> int:
    """Returns the memory in bytes of this machine, or of its container if less."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in _MEMORY_LIMITS:
        if path.exists():
            text = path.read_text().strip()
            # "max" means no limit.
            if text.isdecimal():
                limits.append(int(text))
    return min(limits)


def used_bytes() -> int:
    """Returns the resident memory of this process in bytes; 0 if unknown."""
    path = pathlib.Path("/proc/self/statm")
    if not path.exists():
        return 0
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def free_disk_bytes(path: pathlib.Path) -> int:
    """Returns the free bytes on the disk of a path, which need not exist."""
    return shutil.disk_usage(_existing(path)).free


def size_of(path: pathlib.Path) -> int:
    """Returns the total bytes of all files under a path; 0 if it does not exist."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def check_writable(path: pathlib.Path) -> None:
    """Checks that a directory can be written or created, without changing anything.

    Raises:
        NotADirectoryError: If the path or a parent is a file.
        PermissionError: If this user may not write there.
    """
    existing = _existing(path)
    if not existing.is_dir():
        raise NotADirectoryError(
            f"{existing} is a file, and should be a directory: choose another `workdir`"
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(
            f"{existing} cannot be written by this user: change its permissions, or "
            "choose another `workdir`"
        )


def is_port_free(port: int) -> bool:
    """Returns whether a server can listen at a port of this machine."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _existing(path: pathlib.Path) -> pathlib.Path:
    """Returns the path itself, or its nearest parent that exists."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.exists())
