"""Arguments in the texts of errors, and the flags that a command shows for them.

A room speaks of arguments, because a program may call it without any command:

    `output`            name of an argument
    `overwrite=True`    switch, or another value to give
    image_size=3        argument with the value that it has
    config.seed=-1      setting of a training; `config.seed` is its name

A text keeps these marks on its way from a worker to its launcher. Each command passes
the text of an error through `in_command` before it shows the text.
"""

import re
from collections.abc import Mapping

# Flags of other commands that texts recommend, always in backticks; True for a switch.
_OF_OTHER_COMMANDS = {
    **dict.fromkeys(("crop_size", "image_dtype", "image_size", "resize"), False),
    **dict.fromkeys(("dataset", "host", "port", "source"), False),
    "overwrite": True,
}
# Phrases for a call, and their wording for a command.
PHRASES = {
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
    # Imported here, because the program `vaeline` lists its commands without absl.
    from absl import flags

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
    for of_call, of_command in PHRASES.items():
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
