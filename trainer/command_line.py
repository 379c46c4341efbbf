"""Flags of the trainer's commands: what is wrong with them is one line."""

import contextlib
import sys
from collections.abc import Iterator, Sequence

from absl import flags

from pipeline import contract


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
        text = _innermost_text(error)
        sys.exit(f"error: {' '.join(text.split())} (--help shows all flags)")


@contextlib.contextmanager
def damage_explained() -> Iterator[None]:
    """Turns TensorFlow's error of a damaged shard to one line.

    Raises:
        DatasetError: In its place; other errors are as they were.
    """
    # Not every command needs TensorFlow.
    import tensorflow as tf

    from trainer import input_pipeline

    try:
        yield
    # The second where TensorFlow quotes bytes that are no text.
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        damage = input_pipeline.describe_damage(error)
        if damage is None:
            raise
        raise contract.DatasetError(
            f"a shard is damaged, or changed while it was read ({damage}): python -m "
            "pipeline.verify --dataset=DIR names it, and pipeline.prepare makes it "
            "again; the same command then goes on"
        ) from error


def _innermost_text(error: BaseException) -> str:
    """Returns what an error says that others only hand on."""
    first = error.args[0] if error.args else ""
    if isinstance(first, BaseException):
        return _innermost_text(first)
    return first if isinstance(first, str) else str(error)
