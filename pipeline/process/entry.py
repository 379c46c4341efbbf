"""The beginning and end of every command: flags, errors and exit codes."""

import re
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, flags

from pipeline import contract
from pipeline.process import arguments, command_help, limits, log_lines, output

# Errors of Python and absl about the value of a flag -> our wording.
_VALUE_ERRORS = {
    r": invalid literal for int\(\) with base \d+: .*": " must be an integer",
    r": could not convert string to float: .*": " must be a number",
    r": \S+ is not (an? [a-z-]* ?(?:integer|number)\b.*)": r" must be \1",
    r": value should be one of <(.*)>": r" must be one of \1",
}


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line, or ends the program with a one-line error.

    Args:
        argv: Program name and flags.

    Returns:
        The program name.
    """
    try:
        others = flags.FLAGS(list(argv))
        check_parsed(others)
    except flags.Error as error:
        refuse(error)
    return others


def check_parsed(others: Sequence[str] = ()) -> None:
    """Refuses values without a flag and flags without a value, which absl accepts.

    Args:
        others: Program name, and the arguments that are not flags.

    Raises:
        flags.Error: If there is a value without a flag, or a flag with an empty value.
            An empty path would mean the working directory.
    """
    if others[1:]:
        raise flags.Error(
            f"unexpected {' '.join(others[1:])}: give each value as --FLAG=VALUE"
        )
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        if flag.default is None and flag.value in ("", [""]):
            raise flags.Error(f"--{name}= is empty: give a value, or leave it out")


def flags_text(text: str) -> str:
    """Returns an error about flags in our wording, where absl or Python has its own.

    Example:
        >>> flags_text("flag --num=x: invalid literal for int() with base 10: 'x'")
        '--num=x must be an integer'
        >>> flags_text("Unknown command line flag 'nme'. Did you mean: name, num ?")
        'unknown flag --nme: did you mean --name or --num?'
        >>> flags_text("flag --a=None: Flag --a must have a value other than None.")
        '--a is needed: give --a=VALUE'
    """
    text = " ".join(text.split())
    missing = re.findall(r"flag --(\S+)=None: Flag --\1 must have a value", text)
    if missing:
        *most, last = [f"--{name}" for name in missing]
        names = " and ".join(filter(None, [", ".join(most), last]))
        example = command_help.example()
        given = " ".join(f"--{name}=VALUE" for name in missing)
        remedy = f"for example {example}" if example else f"give {given}"
        return f"{names} {'is' if len(missing) == 1 else 'are'} needed: {remedy}"
    if match := re.fullmatch(
        r"Unknown command line flag '(.+?)'(?:\. Did you mean: (.+) \?)?", text
    ):
        nearest = " or ".join(f"--{name}" for name in (match[2] or "").split(", "))
        return f"unknown flag --{match[1]}" + (
            f": did you mean {nearest}?" if match[2] else ""
        )
    text = text.removeprefix("flag ")
    for pattern, wording in _VALUE_ERRORS.items():
        text = re.sub(pattern, wording, text)
    head, names, allowed = text.partition(" must be one of ")
    return head + names + allowed.replace("|", ", ")


def refuse(error: Exception | str) -> NoReturn:
    """Ends the program with a one-line error about its command line."""
    raise refusal(error)


def refusal(error: Exception | str) -> SystemExit:
    """Returns the exit of a program with a one-line error about its command line."""
    text = arguments.in_command(flags_text(str(error)))
    text = contract.without_credentials(text)
    return SystemExit(f"error: {text} (--help shows all flags)")


def fail(error: Exception) -> NoReturn:
    """Ends the program with a one-line error about a failure."""
    text = arguments.in_command(" ".join(limits.error_text(error).splitlines()))
    sys.exit(f"error: {contract.without_credentials(text)}")


def run(
    main: Callable[[list[str]], None],
    flags_parser: Callable[[Sequence[str]], list[str]] = parse_flags,
) -> None:
    """Runs a command and ends the process with its exit code.

    Args:
        main: Main function; it gets the result of `flags_parser`.
        flags_parser: Function that parses the command line.
    """

    def logged(argv: list[str]) -> None:
        log_lines.begin()
        main(argv)

    with output.written():
        command_help.define()
        app.run(logged, flags_parser=flags_parser)
