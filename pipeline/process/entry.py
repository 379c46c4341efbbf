"""What all commands have in common: their flags, and how they begin and end."""

import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, flags

from pipeline import contract
from pipeline.process import command_help, limits, output


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line, or ends the program with one line on what is wrong.

    Args:
        argv: The program name and its flags.

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
    """Checks what absl takes: values without a flag, and flags without a value.

    Args:
        others: The program name and what is no flag.

    Raises:
        flags.Error: If there is such a thing. An empty path would be the directory
            that the command runs in.
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
    """Ends the program with one line on what is wrong with its command line."""
    raise refusal(error)


def refusal(error: Exception | str) -> SystemExit:
    """Returns the end of a program, with one line on its wrong command line."""
    text = contract.without_credentials(" ".join(str(error).split()))
    return SystemExit(f"error: {text} (--help shows all flags)")


def fail(error: Exception) -> NoReturn:
    """Ends the program with one line on what kept it from its end."""
    text = " ".join(limits.error_text(error).splitlines())
    sys.exit(f"error: {contract.without_credentials(text)}")


def run(
    main: Callable[[list[str]], None],
    flags_parser: Callable[[Sequence[str]], list[str]] = parse_flags,
) -> None:
    """Runs a command, and ends the process with its exit code.

    Args:
        main: Of the program name and what `flags_parser` returns after it.
        flags_parser: Of the command line.
    """
    with output.written():
        command_help.define()
        app.run(main, flags_parser=flags_parser)
