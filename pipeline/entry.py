"""What all commands have in common: their flags, and how they begin and end."""

import os
import sys
from collections.abc import Callable, Sequence

from absl import app, flags


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line, or ends the program with one line on what is wrong.

    Args:
        argv: The program name and its flags.

    Returns:
        The program name.
    """
    try:
        others = flags.FLAGS(list(argv))
    except flags.Error as error:
        sys.exit(f"error: {error} (--help shows all flags)")
    check_only_flags(others)
    return others


def check_only_flags(argv: Sequence[str]) -> None:
    """Ends the program with one line if a command line has more than flags.

    Args:
        argv: The program name and what is no flag.
    """
    if argv[1:]:
        sys.exit(
            f"error: unexpected {' '.join(argv[1:])}: give each value as "
            "--FLAG=VALUE (--help shows all flags)"
        )


def run(
    main: Callable[[list[str]], None],
    flags_parser: Callable[[Sequence[str]], list[str]] = parse_flags,
) -> None:
    """Runs a command, and ends the process with its exit code.

    Args:
        main: Of the program name and what `flags_parser` returns after it.
        flags_parser: Of the command line.
    """
    try:
        app.run(main, flags_parser=flags_parser)
    finally:
        _flush()


def _flush() -> None:
    """Writes what was printed, or ends the process: Python would show a traceback."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads it, such as `head`, has had enough.
        os._exit(1)
    except OSError as error:
        print(f"error: cannot write the output: {error.strerror}", file=sys.stderr)
        os._exit(1)
