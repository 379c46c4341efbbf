"""The import of TensorFlow: quick, quiet, and computing as the flags say alone."""

import contextlib
import functools
import gc
import os
import sys
import tempfile
from collections.abc import Iterator

from pipeline.process import limits, variables

# Keras imports them for tools of its own that nothing here uses, and a third of the
# time that the import takes is theirs.
_NOT_FOR_KERAS = ("matplotlib", "sklearn")


def _import_quietly() -> None:
    """Imports TensorFlow without its C++ start-up lines, unless the import fails.

    Those lines are written straight to file descriptor 2 before any log level is
    read, so the descriptor itself is turned away for the time of the import.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # The collector would find nothing: what an import makes stays.
    gc.disable()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as noise:
        saved = os.dup(2)
        os.dup2(noise.fileno(), 2)
        try:
            with _hidden(_NOT_FOR_KERAS):
                import keras  # noqa: F401
                import tensorflow as tf
        except BaseException:
            noise.seek(0)
            os.write(saved, noise.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            gc.enable()
            gc.freeze()
    # At INFO, tf.distribute tells of every all-reduce that it traces.
    tf.get_logger().setLevel("WARNING")


@contextlib.contextmanager
def _hidden(packages: tuple[str, ...]) -> Iterator[None]:
    """Has imports of packages fail that are not imported yet, as if not installed."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules |= dict.fromkeys(hidden)  # pyright: ignore[reportCallIssue]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@functools.cache
def load_tensorflow() -> None:
    """Imports TensorFlow and Keras for this process; later calls change nothing.

    Environment variables and files of the user that would change numbers are
    overridden first; see `pipeline.process.variables`. A process that imports
    TensorFlow in another way has TensorFlow's own defaults.
    """
    # What tracing makes by the hundred thousand stays too: the usual threshold, 700,
    # has the collector look at it all again and again, for a tenth of a start's time.
    gc.set_threshold(10_000)
    limits.check_addresses()
    variables.override()
    _import_quietly()
