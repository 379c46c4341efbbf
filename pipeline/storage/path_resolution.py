"""Resolves paths, local or in a bucket, independently of the working directory."""

import contextlib
import os
import pathlib

from pipeline.storage import paths


def resolve(path: str) -> str:
    """Returns a path that is valid in any working directory, with links resolved.

    Example:
        >>> resolve("s3://bucket/faces/"), resolve("/data/faces/../digits")
        ('s3://bucket/faces', '/data/digits')
    """
    return path.rstrip("/") if paths.is_url(path) else os.path.realpath(path)


def absolute(path: str) -> str:
    """Returns a path that a worker with another working directory can use.

    Example:
        >>> absolute("s3://bucket/faces/"), absolute("/data/faces/../digits")
        ('s3://bucket/faces', '/data/digits')
    """
    return path.rstrip("/") if paths.is_url(path) else os.path.abspath(path)


def contains(directory: str, path: str) -> bool:
    """Returns whether a path equals or is below a directory; resolves links and `..`.

    Example:
        >>> contains("s3://bucket/a/", "s3://bucket/a/b"), contains("/x/a", "/x/ab")
        (True, False)
    """
    directory, path = resolve(directory), resolve(path)
    if path == directory or path.startswith(f"{directory.rstrip('/')}/"):
        return True
    if paths.is_url(directory) or paths.is_url(path):
        return False
    # One directory may have two names, through a mount or in upper and lower case.
    with contextlib.suppress(OSError):
        target = os.stat(directory)
        for above in (pathlib.Path(path), *pathlib.Path(path).parents):
            if above.exists() and os.path.samestat(os.stat(above), target):
                return True
    return False
