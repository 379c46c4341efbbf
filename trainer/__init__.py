"""Trains and inspects variational autoencoders on prepared shards."""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import tempfile
import types
from collections.abc import Callable, Sequence


class _QuietTensorFlow(importlib.abc.MetaPathFinder):
    """Finds TensorFlow, when it is first imported, so that its start-up is silent."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Returns what the other finders find."""
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec and spec.loader:
            load = spec.loader.exec_module
            # Of this loader alone.
            vars(spec.loader)["exec_module"] = lambda module: _quietly(load, module)
        return spec


def _quietly(
    load: Callable[[types.ModuleType], None], tensorflow: types.ModuleType
) -> None:
    """Loads TensorFlow without its C++ start-up lines, unless that fails.

    Those lines are written straight to file descriptor 2 before any log level is
    read, so the descriptor itself is turned away for the time of the import.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as noise:
        saved = os.dup(2)
        os.dup2(noise.fileno(), 2)
        try:
            load(tensorflow)
        except BaseException:
            noise.seek(0)
            os.write(saved, noise.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
    # At INFO, tf.distribute tells of every all-reduce that it traces.
    tensorflow.get_logger().setLevel("WARNING")


# Commands that only read a run's files do without it.
if "tensorflow" not in sys.modules:
    sys.meta_path.insert(0, _QuietTensorFlow())
