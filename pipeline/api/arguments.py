"""Errors of a call, which name its arguments instead of a command's flags."""

import contextlib
import os
import re
from collections.abc import Collection, Iterator

from pipeline import contract
from pipeline.process import path_flags

_SWITCHES = ("deduplicate", "overwrite", "stats")
# Phrases of a command's errors, and their wording for a call.
_PHRASES = {
    "run the same command": "make the same call",
    "Run the same command": "Make the same call",
    "in the directory that the command is run in": "elsewhere on sys.path",
    "leave the flag out": "leave the argument out",
}
# A flag in a text, but no part of a word or path.
_FLAG = r"(?<![\w/-])--({})\b"


def path(name: str, value: str | os.PathLike[str]) -> str:
    """Returns the path in an argument, parsed like the flag of the same name.

    Raises:
        ValueError: If the value is empty, or neither a path nor a URL.
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
    """Makes errors name the arguments of a call instead of a command's flags.

    Args:
        names: Names of the arguments, which are also the names of the flags.
    """
    try:
        yield
    except contract.DatasetError as error:
        raise contract.DatasetError(_as_arguments(str(error), names)) from error


def _as_arguments(text: str, names: Collection[str]) -> str:
    """Returns an error text of a command, reworded for a call.

    Example:
        >>> _as_arguments("--seed=-1: give --overwrite", ["overwrite", "seed"])
        'seed=-1: give overwrite=True'
    """
    for of_command, of_call in _PHRASES.items():
        text = text.replace(of_command, of_call)
    text = re.sub(_FLAG.format("|".join(_SWITCHES)) + "(?!=)", r"\1=True", text)
    return re.sub(_FLAG.format("|".join(names)), r"\1", text)
