"""Imports TensorFlow quickly and quietly; its results then depend on flags only."""

import contextlib
import gc
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence

from pipeline.process import limits, variables

# Packages that Keras imports for tools that this project does not use, in a third of
# the import time.
_NOT_FOR_KERAS = ("matplotlib", "sklearn")

_is_loaded = False


def _import_libraries() -> None:
    """Imports Keras and TensorFlow."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # On a wrong value of a kernel variable, TensorFlow ends the process with a line on
    # stderr, which must stay visible.
    has_kernels = bool(variables.chosen())
    # Garbage collection would find nothing, because imported objects stay.
    gc.disable()
    try:
        with (
            contextlib.nullcontext() if has_kernels else _without_stderr(),
            _hidden(_NOT_FOR_KERAS),
        ):
            import keras  # noqa: F401
            import tensorflow as tf
    finally:
        gc.enable()
        gc.freeze()
    # At INFO, tf.distribute logs every all-reduce that it traces.
    tf.get_logger().setLevel("WARNING")


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Hides lines that C++ code writes to file descriptor 2, unless an error is raised.

    TensorFlow writes its start-up lines straight to the descriptor before it reads any
    log level. So the descriptor itself is redirected to a temporary file.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as noise:
        saved = os.dup(2)
        os.dup2(noise.fileno(), 2)
        try:
            yield
        except BaseException:
            noise.seek(0)
            os.write(saved, noise.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


@contextlib.contextmanager
def _hidden(packages: tuple[str, ...]) -> Iterator[None]:
    """Hides packages from imports, except packages that are already imported."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules |= dict.fromkeys(hidden)  # pyright: ignore[reportCallIssue]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def load_tensorflow(
    kernel_variables: Sequence[str] = (), kept_variables: Sequence[str] = ()
) -> None:
    """Imports TensorFlow and Keras for this process; later calls change nothing.

    It first overrides environment variables and user files that would change numbers;
    see `pipeline.process.variables`. A process that imports TensorFlow in another way
    gets TensorFlow's own defaults.

    Args:
        kernel_variables: Variables to set, as `--kernel_variable` gives them.
        kept_variables: Names of variables that stay as they are.
    """
    global _is_loaded
    if _is_loaded:
        return
    _is_loaded = True
    # Tracing makes hundreds of thousands of objects that stay. At the default threshold
    # of 700, repeated garbage collections take a tenth of the start-up time.
    gc.set_threshold(10_000)
    limits.check_addresses()
    variables.override(kernels=variables.parse(kernel_variables), kept=kept_variables)
    _import_libraries()
