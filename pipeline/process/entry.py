"""The beginning and end of every command: flags, errors and exit codes."""

import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, flags

from pipeline import contract
from pipeline.process import command_help, limits, output


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


def refuse(error: Exception | str) -> NoReturn:
    """Ends the program with a one-line error about its command line."""
    raise refusal(error)


def refusal(error: Exception | str) -> SystemExit:
    """Returns the exit of a program with a one-line error about its command line."""
    text = contract.without_credentials(" ".join(str(error).split()))
    return SystemExit(f"error: {text} (--help shows all flags)")


def fail(error: Exception) -> NoReturn:
    """Ends the program with a one-line error about a failure."""
    text = " ".join(limits.error_text(error).splitlines())
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
    with output.written():
        command_help.define()
        app.run(main, flags_parser=flags_parser)
