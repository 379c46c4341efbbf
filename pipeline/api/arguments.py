"""Errors of a call: they name its arguments, where a command's name flags."""

import contextlib
import os
import re
from collections.abc import Collection, Iterator

from pipeline import contract
from pipeline.process import path_flags

_SWITCHES = ("deduplicate", "overwrite", "stats")
# What a command says of itself, and a call of itself.
_PHRASES = (
    (r"\brun the same command\b", "make the same call"),
    (r"\bRun the same command\b", "Make the same call"),
    (r"\bin the directory that the command is run in\b", "elsewhere on sys.path"),
    (r"\bleave the flag out\b", "leave the argument out"),
)


def path(name: str, value: str | os.PathLike[str]) -> str:
    """Returns the path that an argument gives, as the flag of its name would.

    Raises:
        ValueError: If it is empty, or what no path and no URL is.
    """
    text = os.fsdecode(value)
    if not text:
        raise ValueError(f"{name} is empty: give a path")
    try:
        return path_flags.parse(text, takes_urls=True)
    except ValueError as error:
        raise ValueError(f"{name}={text}: {error}") from error


@contextlib.contextmanager
def named(names: Collection[str]) -> Iterator[None]:
    """Has errors name the arguments of a call, and not the flags of a command.

    Args:
        names: Names of the arguments, which are those of the flags.
    """
    try:
        yield
    except contract.DatasetError as error:
        raise contract.DatasetError(_as_arguments(str(error), names)) from error


def _as_arguments(text: str, names: Collection[str]) -> str:
    """Returns what a command says in the words of a call.

    Example:
        >>> _as_arguments("--seed=-1: give --overwrite", ["overwrite", "seed"])
        'seed=-1: give overwrite=True'
    """

    def argument(found: re.Match[str]) -> str:
        name, equals = found.groups()
        if name not in names:
            return found[0]
        return f"{name}=True" if name in _SWITCHES and not equals else name + equals

    for before, after in _PHRASES:
        text = re.sub(before, after, text)
    return re.sub(r"(?<![\w/-])--(\w+)(=?)", argument, text)
