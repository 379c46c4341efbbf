"""Limits and warnings of the process of a command or worker, set before imports."""

import errno
import os
import sys
import warnings
from collections.abc import Callable

# A run opens a few hundred files; some systems allow 256 by default.
_OPEN_FILES = 4096
# Open files of a process other than shards: libraries, logs, checkpoints, sockets.
_OTHER_FILES = 96

# Variables that libraries parse as numbers during their import.
_NUMBERS: dict[str, Callable[[str], float]] = {
    **dict.fromkeys(
        (
            "NUMBA_NUM_THREADS",
            "SKLEARN_PAIRWISE_DIST_CHUNK_SIZE",
            "SKLEARN_WORKING_MEMORY",
            *("TQDM_INITIAL", "TQDM_NCOLS", "TQDM_NROWS", "TQDM_POSITION"),
            "TQDM_UNIT_DIVISOR",
        ),
        int,
    ),
    **dict.fromkeys(
        (
            *("TQDM_DELAY", "TQDM_MAXINTERVAL", "TQDM_MININTERVAL", "TQDM_MINITERS"),
            *("TQDM_SMOOTHING", "TQDM_TOTAL"),
        ),
        float,
    ),
}

# Address space that TensorFlow needs, or Beam with a few threads. With less they crash
# in C++, or wait for ever for a thread that could not start.
_LEAST_ADDRESSES = 2_500_000_000

_MAKE_SPACE = "free some space and make the same call again"
# Remedies for a disk that takes no more data.
_REMEDIES = {
    errno.ENOSPC: _MAKE_SPACE,
    errno.EDQUOT: _MAKE_SPACE,
    errno.EFBIG: "set ulimit -f unlimited, or write where larger files are allowed",
    errno.EROFS: "write elsewhere, or have this file system mounted writable",
}

DISK_ERRORS = tuple(_REMEDIES)

# Warnings that Python ignores by default. With `-W error`, any warning of a library
# would end a command, in its import or later.
_QUIET_WARNINGS = (
    DeprecationWarning,
    ImportWarning,
    PendingDeprecationWarning,
    ResourceWarning,
)


def num_cores() -> int:
    """Returns the number of cores that this process may use."""
    # Some systems do not report the cores of one process.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def prepare() -> None:
    """Sets up this process; later calls change nothing."""
    _remove_variables()
    if any(option.startswith("error") for option in sys.warnoptions):
        # Python's own filters: a library's warning must not be a command's error.
        warnings.simplefilter("default")
        for category in _QUIET_WARNINGS:
            warnings.simplefilter("ignore", category)
    _raise_open_files()


def _remove_variables() -> None:
    """Removes variables that make libraries fail with a traceback, or take minutes.

    Numba's variables for the cache directory and the number of threads stay. Removing
    its other variables never changes the integers that our loops compute.
    """
    # Any implementation but the installed one fails.
    os.environ.pop("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", None)
    for name in [name for name in os.environ if name.startswith("NUMBA_")]:
        if name not in ("NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS"):
            del os.environ[name]
    for name, kind in _NUMBERS.items():
        try:
            kind(os.environ.get(name, "0"))
        except ValueError:
            del os.environ[name]


def check_addresses() -> None:
    """Ends the command with a one-line error if `ulimit -v` is too low."""
    try:
        import resource
    except ImportError:  # Windows.
        return
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY and soft < _LEAST_ADDRESSES:
        sys.exit(
            f"error: this process may use {soft >> 10} KiB of address space (ulimit "
            f"-v), but needs at least {_LEAST_ADDRESSES >> 10} KiB: set ulimit -v "
            "unlimited"
        )


def shortage_text(error: BaseException) -> str | None:
    """Returns an error text on a lack of memory, threads or files; otherwise None."""
    if is_out_of_files(error):
        return out_of_files_text(error)
    if isinstance(error, MemoryError):
        return "out of memory: end other programs, or raise ulimit -v"
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "cannot start a thread: raise ulimit -u and ulimit -v"
    return None


def open_files_limit() -> int:
    """Returns the largest number of files that this process may open."""
    try:
        import resource
    except ImportError:  # Windows.
        return _OPEN_FILES
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _OPEN_FILES if soft == resource.RLIM_INFINITY else soft


def num_shards_open() -> int:
    """Returns the number of shards that a process may open beside its other files."""
    return max(1, open_files_limit() - _OTHER_FILES)


def is_out_of_files(error: BaseException) -> bool:
    """Returns whether an error says that too many files are open.

    The limit may belong to this process or to the system.

    Args:
        error: Any exception; its chain of causes is searched for the system's error.
    """
    return _out_of_files_number(error) is not None


def out_of_files_text(error: BaseException) -> str:
    """Returns the error text for an error that `is_out_of_files` accepts."""
    if _out_of_files_number(error) == errno.ENFILE:
        return "the system has too many open files: end other programs"
    limit = open_files_limit()
    return (
        f"this process needs more than {limit} open files, its limit: "
        f"raise the limit with ulimit -n {max(_OPEN_FILES, 2 * limit)}"
    )


def _out_of_files_number(error: BaseException | None) -> int | None:
    while error is not None:
        for number in (errno.EMFILE, errno.ENFILE):
            if isinstance(error, OSError) and error.errno == number:
                return number
            # Beam passes a worker's error on as the text of its traceback.
            if f"OSError: [Errno {number}]" in str(error):
                return number
        error = error.__cause__
    return None


def error_text(error: BaseException) -> str:
    """Returns the error text for a user; shortages and disk errors get a remedy."""
    shortage = shortage_text(error)
    if shortage or not isinstance(error, OSError):
        return shortage or str(error)
    remedy = _REMEDIES.get(error.errno or 0)
    if remedy is None:
        # A renamed file has a temporary name, and the name that the user knows.
        path = error.filename2 or error.filename
        text = f"cannot use {path}: {error.strerror}"
        return text if path and error.strerror else str(error)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror}: {remedy}"


def _raise_open_files() -> None:
    """Raises the soft limit of open files as far as the hard limit allows."""
    try:
        import resource
    except ImportError:  # Windows.
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _OPEN_FILES:
        return
    limit = _OPEN_FILES
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    except (OSError, ValueError):  # The system may have a bound of its own.
        return
