"""Flags of the trainer's commands: what is wrong with them is one line."""

import contextlib
import logging as python_logging
import re
import sys
from collections.abc import Iterator, Sequence

import tensorflow as tf
from absl import flags, logging

from pipeline import contract
from trainer.shard_files import DamageError


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line, or ends the program with one line on what is wrong.

    Args:
        argv: The program name and its flags.

    Returns:
        The program name and what is no flag.
    """
    try:
        return flags.FLAGS(list(argv))
    # The second is a setting that a config does not have.
    except (flags.Error, AttributeError) as error:
        text = innermost_text(error)
        sys.exit(f"error: {' '.join(text.split())} (--help shows all flags)")


def log_with_times() -> None:
    """Has each line of the log begin with the time, and the first letter of its level.

    To be called once absl has begun.
    """
    logging.get_absl_handler().setFormatter(
        python_logging.Formatter("%(asctime)s %(levelname).1s %(message)s", "%H:%M:%S")
    )


@contextlib.contextmanager
def damage_explained() -> Iterator[None]:
    """Turns the error of a damaged shard to one line.

    Raises:
        DatasetError: In its place; other errors are as they were.
    """
    try:
        yield
    except (tf.errors.OpError, DamageError) as error:
        damage = _damage(error)
        if damage is None:
            raise
        raise contract.DatasetError(
            f"a shard is damaged, or changed while it was read ({damage}): python -m "
            "pipeline.verify --dataset=DIR names it, and pipeline.prepare makes it "
            "again; the same command then goes on"
        ) from error


def _damage(error: tf.errors.OpError | DamageError) -> str | None:
    """Returns what an error of a step says of a damaged dataset, if it does."""
    if isinstance(error, DamageError):
        return str(error)
    found = re.search(r"(?<=DamageError: ).+", error.message)
    return found[0] if found else None


def innermost_text(error: BaseException) -> str:
    """Returns what an error says that others only hand on."""
    first = error.args[0] if error.args else ""
    if isinstance(first, BaseException):
        return innermost_text(first)
    return first if isinstance(first, str) else str(error)
