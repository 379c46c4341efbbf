"""The log of every command: one format, on standard error."""

import logging as python_logging

from absl import logging

# Libraries that report at INFO what no user needs, such as a font cache that was built.
_QUIET = ("matplotlib",)


def begin() -> None:
    """Makes each log line begin with the time and the first letter of its level.

    Call this function after absl has set up logging.
    """
    logging.get_absl_handler().setFormatter(
        python_logging.Formatter("%(asctime)s %(levelname).1s %(message)s", "%H:%M:%S")
    )
    for name in _QUIET:
        python_logging.getLogger(name).setLevel(python_logging.WARNING)
