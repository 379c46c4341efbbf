"""Parsing of the trainer's flags; an error in them becomes one line."""

import contextlib
import re
from collections.abc import Iterator, Sequence

from absl import flags
from ml_collections import ConfigDict

from pipeline import contract
from pipeline.process import entry, limits
from trainer.cli import config_files


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line, or ends the program with a one-line explanation.

    Args:
        argv: The program name and its flags.

    Returns:
        The program name.
    """
    has_config = "config" in flags.FLAGS
    try:
        argv = config_files.expanded(argv)
        others = flags.FLAGS(list(argv))
        entry.check_parsed(others)
    # A config file may raise any exception.
    except Exception as error:
        raise entry.refusal(explain(error, argv if has_config else ())) from error
    # The parser accepts a missing file, or a `get_config` that returns nothing.
    if has_config and not isinstance(flags.FLAGS.config, ConfigDict):
        try:
            config_files.check(argv)
        except config_files.ConfigError as error:
            entry.refuse(error)
    return others


def explain(error: Exception, argv: Sequence[str]) -> str:
    """Returns one line that says why flags could not be parsed.

    Args:
        error: Exception that the parser raised.
        argv: The program name and its flags, if the command has `--config`; else empty.

    Raises:
        Exception: The given error, if neither a flag nor a config file caused it.
    """
    try:
        config_files.check(argv)
    except (config_files.ConfigError, flags.Error) as refusal:
        error = refusal
    if not isinstance(error, flags.Error | ValueError | TypeError):
        raise error
    return entry.flags_text(innermost_text(error))


@contextlib.contextmanager
def damage_explained() -> Iterator[None]:
    """Turns errors of the dataset and of the machine into one line.

    Raises:
        DatasetError: If a shard is damaged, or a label is out of range.
        ValueError: If open files, memory or threads are exhausted.
        Exception: Any other error, unchanged.
    """
    # Imported here, because flags are parsed before TensorFlow and NumPy are imported.
    import tensorflow as tf

    from trainer.data.shard_files import DamageError

    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = limits.shortage_text(error)
        if text is None:
            raise
        raise ValueError(text) from error
    except tf.errors.ResourceExhaustedError as error:
        raise ValueError(
            f"out of memory ({error.message.splitlines()[0]:.200}): lower "
            "--config.global_batch_size, or raise --config.gradient_accumulation_steps"
        ) from error
    except (tf.errors.OpError, DamageError) as error:
        if match := re.search(r"(?<=DatasetError: ).+", str(error)):
            raise contract.DatasetError(match[0]) from error
        if match := re.search(r"(?<=OpenFilesError: ).+", str(error)):
            raise ValueError(match[0]) from error
        is_damage = isinstance(error, DamageError)
        damage = str(error) if is_damage else _damage(str(error))
        if damage is None:
            raise
        raise contract.DatasetError(
            f"a shard is damaged, or changed while it was read ({damage}): find it "
            "with python -m pipeline.verify --dataset=DIR, and restore it with "
            "pipeline.prepare; then run the same command to go on"
        ) from error


def _damage(text: str) -> str | None:
    """Returns the damage that an error of TensorFlow reports, or None."""
    match = re.search(r"(?<=DamageError: ).+", text)
    return match[0] if match else None


def innermost_text(error: BaseException) -> str:
    """Returns the text of the innermost error among errors that wrap each other."""
    first = error.args[0] if error.args else ""
    if isinstance(first, BaseException):
        return innermost_text(first)
    return first if isinstance(first, str) else str(error)
