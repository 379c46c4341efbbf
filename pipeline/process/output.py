"""Errors of standard output: a reader that has gone, or a full disk."""

import contextlib
import os
import select
import sys
from collections.abc import Iterator

from pipeline.process import arguments, limits


@contextlib.contextmanager
def written() -> Iterator[None]:
    """Ends the process with at most one line if its output cannot be written."""
    try:
        try:
            yield
        finally:
            # Flush here: Python's own flush at exit would show a traceback. `stdout` is
            # None if it was closed.
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        # A broken pipe needs no error: its reader, such as `head`, has had enough.
        if _is_read() or not isinstance(error, BrokenPipeError):
            text = arguments.in_command(limits.error_text(error))
            print(f"error: {text}", file=sys.stderr)
        # A normal exit would try to write the output again.
        os._exit(1)


def _is_read() -> bool:
    poll = select.poll()
    poll.register(1, 0)
    return not poll.poll(0)
