"""The `--help` of a command: its docstring, and its own flags in groups.

Required flags come first, then the command's other flags, then flags that it shares
with other commands. The heading of a shared group is the first docstring line of the
module that defines its flags. Only `--helpfull` shows absl's own flags.
"""

import argparse
import functools
import re
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags

# Columns for flag names; a longer name gets its own line.
_NAME_WIDTH = 30


class _HelpFlag(flags.BooleanFlag):
    """A flag that shows a text when parsed, before absl checks required flags."""

    def __init__(
        self, name: str, help: str, show: Callable[[], object], **more: Any
    ) -> None:
        super().__init__(name, False, help, allow_override=True, **more)
        self._show = show

    def parse(self, arguments: Any) -> None:
        super().parse(arguments)
        if self.value:
            self._show()
            sys.exit(0)


def define() -> None:
    """Defines the help flags, in place of absl's.

    absl's own help flags exit with code 1, and sort the flags by name.
    """
    app.define_help_flags()
    full = functools.partial(app.usage, writeto_stdout=True)
    for flag in (
        _HelpFlag("help", "show this help", _show, short_name="h"),
        _HelpFlag("helpshort", "show this help", _show, short_name="?"),
        _HelpFlag("helpfull", "show full help", full),
        _HelpFlag("helpxml", "like --helpfull, but generates XML output", _write_xml),
    ):
        # The module name keeps these flags out of the command's own flags.
        flags.DEFINE_flag(flag, module_name=app.__name__)


def text() -> str:
    """Returns the help text of the running command."""
    own = flags.FLAGS.get_key_flags_for_module("__main__")
    groups: dict[str, list[flags.Flag]] = {"Required flags": []}
    for flag in own:
        heading = "Required flags" if _is_required(flag) else _heading(flag)
        groups.setdefault(heading, []).append(flag)
    page = argparse.ArgumentParser(
        usage=argparse.SUPPRESS,
        description=sys.modules["__main__"].__doc__,
        epilog="--helpfull also shows flags for logging and debugging.",
        formatter_class=functools.partial(
            argparse.RawDescriptionHelpFormatter, max_help_position=_NAME_WIDTH
        ),
        add_help=False,
    )
    for heading, members in groups.items():
        group = page.add_argument_group(heading)
        for flag in members:
            explained = _explanation(flag).replace("%", "%%")
            group.add_argument(_spelling(flag), action="store_true", help=explained)
    return page.format_help()


def example() -> str:
    """Returns the first command in the help of the running command; "" if none."""
    page = sys.modules["__main__"].__doc__ or ""
    found = re.search(r"^    (python -m (?:.*\\\n)*.*)$", page, re.MULTILINE)
    return " ".join(found[1].replace("\\\n", " ").split()) if found else ""


def _show() -> None:
    print(text(), end="")


def _write_xml() -> None:
    flags.FLAGS.write_help_in_xml_format(sys.stdout)


def _is_required(flag: flags.Flag) -> bool:
    return flag.default is None and not all(
        validator.checker(None) for validator in flag.validators
    )


def _heading(flag: flags.Flag) -> str:
    """Returns the heading of the group of an optional flag."""
    module = sys.modules.get(flags.FLAGS.find_module_defining_flag(flag.name) or "")
    if module is None or not module.__doc__:
        return "Optional flags"
    return module.__doc__.splitlines()[0].rstrip(".")


def _spelling(flag: flags.Flag) -> str:
    return f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}=VALUE"


def _explanation(flag: flags.Flag) -> str:
    """Returns the meaning of a flag, its allowed values and its default."""
    meaning = " ".join(flag.help.split()).replace(".; ", "; ")
    values = flag.parser.syntactic_help
    if isinstance(flag, flags.EnumFlag):
        values = f"one of {', '.join(flag.parser.enum_values)}"
        meaning = meaning.split(">: ", 1)[1]
    notes = [values] if values and not flag.boolean else []
    if flag.default is not None:
        notes.append(f"default: {(flag.default_as_str or '')[1:-1]}")
    return f"{meaning} ({'; '.join(notes)})" if notes else meaning
