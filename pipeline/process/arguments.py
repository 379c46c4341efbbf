"""Errors of a call, which name its arguments instead of a command's flags.

Errors name a setting as a flag, `--name`, even in texts that pass from a worker to its
launcher. Only this module turns flags into arguments. The opposite direction would be
ambiguous, because an argument's name may be an ordinary word.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping

from pipeline.process import path_flags

_SWITCHES = ("deduplicate", "overwrite", "stats")
# Phrases of a command's errors, and their wording for a call.
_PHRASES = {
    "run the same command": "make the same call",
    "Run the same command": "Make the same call",
    "in the directory that the command is run in": "elsewhere on sys.path",
    "leave the flag out": "leave the argument out",
}
# Matches a flag in a text, but not inside a word or path.
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
def named(names: Mapping[str, str]) -> Iterator[None]:
    """Makes errors name the arguments of a call instead of a command's flags.

    Args:
        names: Name of the argument for each flag.

    Raises:
        ValueError: If the body raises one; the error keeps its class.
    """
    try:
        yield
    except ValueError as error:
        text = as_arguments(str(error), names)
        if text == str(error):
            raise
        raise type(error)(text) from error


def as_arguments(text: str, names: Mapping[str, str]) -> str:
    """Returns an error text of a command, reworded for a call.

    Args:
        text: Text with flags.
        names: Name of the argument for each flag.

    Example:
        >>> names = {"overwrite": "overwrite", "workdir": "path"}
        >>> as_arguments("--workdir=x: give --overwrite", names)
        'path=x: give overwrite=True'
    """
    for of_command, of_call in _PHRASES.items():
        text = text.replace(of_command, of_call)
    text = re.sub(_FLAG.format("|".join(_SWITCHES)) + "(?!=)", r"\1=True", text)
    return re.sub(_FLAG.format("|".join(names)), lambda flag: names[flag[1]], text)
