"""Arguments in the texts of errors, and the flags that a command shows for them.

A room speaks of arguments, because a program may call it without any command:

    `output`            name of an argument
    `overwrite=True`    switch, or another value to give
    image_size=3        argument with the value that it has
    config.seed=-1      setting of a training; `config.seed` is its name

These marks survive the way of a text from a worker to its launcher. Each command passes
the text of an error through `in_command` before it shows the text.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping

from absl import flags

from pipeline.process import path_flags

# Flags of other commands that texts recommend, always in backticks; True for a switch.
_OF_OTHER_COMMANDS = {
    **dict.fromkeys(("crop_size", "image_dtype", "image_size", "resize"), False),
    **dict.fromkeys(("dataset", "host", "port", "source"), False),
    "overwrite": True,
}
# Phrases for a call, and their wording for a command.
_PHRASES = {
    "make the same call": "run the same command",
    "Make the same call": "Run the same command",
    "which this call would": "which this command would",
    "elsewhere on sys.path": "in the directory that the command is run in",
    "leave the argument out": "leave the flag out",
    "in one argument": "in one flag",
    "only one of these arguments": "only one of these flags",
}
_SETTING = "config."
_NAME = r"[a-z]\w*(?:\.\w+)*"
# A name before a value is no argument inside a word, path, value or Python call.
_MARK = re.compile(
    rf"`(?P<marked>{_NAME})(?P<value>=[^`]*)?`"
    rf"|(?<![\w`'\"./\\,:=*~-])(?<!\w\()(?P<bare>{_NAME})(?==)"
)


def in_command(text: str) -> str:
    """Returns the text of an error with the flags of this process for arguments."""
    return as_flags(text, {name: flags.FLAGS[name].boolean for name in flags.FLAGS})


def as_flags(text: str, are_switches: Mapping[str, bool]) -> str:
    """Returns the text of an error with flags for arguments.

    Args:
        text: Text that speaks of arguments and of a call.
        are_switches: Whether a flag is a switch, for each flag of the command. Other
            names stay, because they may be ordinary words.

    Example:
        >>> flags = {"output": False, "overwrite": True}
        >>> as_flags("output=x exists: give `overwrite=True` or another `name`", flags)
        '--output=x exists: give --overwrite or another `name`'
    """
    for of_call, of_command in _PHRASES.items():
        text = text.replace(of_call, of_command)
    in_backticks = {**_OF_OTHER_COMMANDS, **are_switches}

    def flag(mark: re.Match[str]) -> str:
        bare, marked, value = mark["bare"], mark["marked"], mark["value"] or ""
        if bare:
            is_flag = bare.startswith(_SETTING) or bare in are_switches
            return f"--{bare}" if is_flag else bare
        if marked.startswith(_SETTING):
            return f"--{marked}{value}"
        if marked not in in_backticks:
            return mark[0]
        is_given = in_backticks[marked] and value == "=True"
        return f"--{marked}" if is_given else f"--{marked}{value}"

    return _MARK.sub(flag, text)


def renamed(text: str, names: Mapping[str, str]) -> str:
    """Returns the text of an error with other names for some arguments.

    Args:
        text: Text that speaks of arguments.
        names: New name of each argument to rename.

    Example:
        >>> renamed("workdir=x holds no run: give a `workdir`", {"workdir": "path"})
        'path=x holds no run: give a `path`'
    """

    def mark_of(mark: re.Match[str]) -> str:
        old = mark["bare"] or mark["marked"]
        return mark[0].replace(old, names.get(old, old), 1)

    return _MARK.sub(mark_of, text)


_SWITCHES = ("deduplicate", "overwrite", "stats")
# Phrases of a command's errors, and their wording for a call.
_OLD_PHRASES = {
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
    for of_command, of_call in _OLD_PHRASES.items():
        text = text.replace(of_command, of_call)
    text = re.sub(_FLAG.format("|".join(_SWITCHES)) + "(?!=)", r"\1=True", text)
    return re.sub(_FLAG.format("|".join(names)), lambda flag: names[flag[1]], text)
