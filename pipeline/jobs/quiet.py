"""Drops needless log lines that Beam writes with the root logger.

They report a missing BigQuery client, or errors that the job's exception also reports.
"""

import contextlib
import logging
from collections.abc import Iterator


def is_not_beams(record: logging.LogRecord) -> bool:
    """Returns False for a record that Beam logged; a filter for the root logger."""
    return "apache_beam" not in record.pathname


@contextlib.contextmanager
def beam_is_quiet() -> Iterator[None]:
    """Drops Beam's records inside the context."""
    root = logging.getLogger()
    root.addFilter(is_not_beams)
    try:
        yield
    finally:
        root.removeFilter(is_not_beams)
