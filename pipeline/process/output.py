"""Standard output that nobody reads, or that a full disk takes no more of."""

import contextlib
import os
import select
import sys
from collections.abc import Iterator

from pipeline.process import limits


@contextlib.contextmanager
def written() -> Iterator[None]:
    """Ends the process in at most one line if its output cannot be written."""
    try:
        try:
            yield
        finally:
            # At its end Python would show a traceback. There is none if it is closed.
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        # Else whoever reads the output, such as `head`, has had enough.
        if _is_read() or not isinstance(error, BrokenPipeError):
            text = limits.error_text(error)
            print(f"error: {text}", file=sys.stderr)
        # Python would try again to write it.
        os._exit(1)


def _is_read() -> bool:
    poll = select.poll()
    poll.register(1, 0)
    return not poll.poll(0)
