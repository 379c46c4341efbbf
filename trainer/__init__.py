"""Trains and inspects variational autoencoders on prepared shards."""

import gc
import os
import sys
import tempfile


def _import_tensorflow_quietly() -> None:
    """Imports TensorFlow without its C++ start-up lines, unless the import fails.

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
            import keras  # noqa: F401
            import tensorflow as tf
        except BaseException:
            noise.seek(0)
            os.write(saved, noise.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
    # At INFO, tf.distribute tells of every all-reduce that it traces.
    tf.get_logger().setLevel("WARNING")


# What imports and tracing make by the hundred thousand stays: the usual threshold, 700,
# has the collector look at it all again and again, for a tenth of a start's time.
gc.set_threshold(10_000)
_import_tensorflow_quietly()
