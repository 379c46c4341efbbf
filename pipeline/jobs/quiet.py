"""What Beam logs without a name, and nobody needs.

It tells of a client of BigQuery that it lacks, and of each error of a job, which the
exception has.
"""

import contextlib
import logging
from collections.abc import Iterator


def is_not_beams(record: logging.LogRecord) -> bool:
    """Returns whether a record is from elsewhere; a filter of the root logger."""
    return "apache_beam" not in record.pathname


@contextlib.contextmanager
def beam_is_quiet() -> Iterator[None]:
    """Drops such records in the meantime."""
    root = logging.getLogger()
    root.addFilter(is_not_beams)
    try:
        yield
    finally:
        root.removeFilter(is_not_beams)
