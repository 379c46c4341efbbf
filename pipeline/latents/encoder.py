"""Runs the encoder of an exported model in a worker, to get posteriors.

Only this module of the pipeline runs TensorFlow, and imports it when a worker loads a
model. Listing, planning and preparing images need no TensorFlow.
"""

import concurrent.futures
import concurrent.futures.process
import contextlib
import functools
import importlib.util
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator

import numpy as np

from pipeline import contract
from pipeline.latents import export_description
from pipeline.process import limits, variables

# Signature of an export for preprocessed images.
_SIGNATURE = "encode_preprocessed"

# Stateful operations that an export may have: they hold, save and restore its weights,
# call its functions and check its input. Any other may write files, or call Python.
_EFFECTS = {
    *("AssignVariableOp", "DisableCopyOnRead", "ReadVariableOp", "VarHandleOp"),
    *("MergeV2Checkpoints", "RestoreV2", "SaveV2", "VarIsInitializedOp"),
    *("Assert", "If", "StatefulPartitionedCall", "While"),
}

# Takes images `[n, h, w, c]` float32 in [-1, 1], and the conditions `[n, ...]` int64 of
# a conditional model. Returns the posterior's mean and log variance,
# `[n, latent_dim]`.
Encode = Callable[[np.ndarray, np.ndarray | None], tuple[np.ndarray, np.ndarray]]


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Silences TensorFlow's C++ messages to file descriptor 2 while it starts."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    variables.override()
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _check_operations(path: str) -> None:
    """Checks that running a model changes nothing outside of the model.

    Raises:
        DatasetError: If an operation is unknown or has effects outside the model. The
            error names the operation.
    """
    from tensorflow.python.framework import op_def_registry
    from tensorflow.python.saved_model import loader_impl

    operations = set()
    for graph in loader_impl.parse_saved_model(path).meta_graphs:
        operations |= {node.op for node in graph.graph_def.node}
        for function in graph.graph_def.library.function:
            operations |= {node.op for node in function.node_def}
    definitions = {name: op_def_registry.get(name) for name in operations - _EFFECTS}
    refused = sorted(
        name for name, op in definitions.items() if not op or op.is_stateful
    )
    if refused:
        raise contract.DatasetError(
            f"model={path} has operations with effects outside the model, which no "
            f"export has ({', '.join(refused):.200}): give a directory that "
            "trainer.export wrote"
        )


def check_loads(export: export_description.Export) -> None:
    """Checks, in a separate process, that a worker on this machine can load the model.

    Checks nothing on a launcher without TensorFlow, whose workers are elsewhere.

    Raises:
        DatasetError: As for `load`, or if the process is killed.
    """
    if importlib.util.find_spec("tensorflow") is None:
        return
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        1, mp_context=spawn, initializer=limits.prepare
    ) as pool:
        try:
            pool.submit(_load, export).result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise contract.DatasetError(
                f"the process that loaded model={export.path} was killed, perhaps "
                "because memory was short: make the same call again"
            ) from error


def _load(export: export_description.Export) -> None:
    load(export.path, export.digest, export.condition)


@functools.lru_cache(maxsize=1)
def load(path: str, digest: str, condition: str | None) -> Encode:
    """Loads the encoder of an export; this process keeps it.

    The encoder computes on the CPU, and each operation in one thread. The workers
    already run in parallel, and several threads would round sums differently.

    Args:
        path: Directory of the export.
        digest: Model digest that the export must have.
        condition: Name of the feature that conditions the model, or None.

    Raises:
        DatasetError: If the path holds another export, the export cannot be loaded or
            has effects beyond the model, or TensorFlow is not installed.
    """
    export = export_description.read_export(path)
    if export.digest != digest:
        raise contract.DatasetError(
            f"model={path} is another export on a worker (digest {export.digest} "
            f"instead of {digest}): every worker must see the same export at this path"
        )
    try:
        with _without_stderr():
            import tensorflow as tf
    except ModuleNotFoundError as error:
        raise contract.DatasetError(
            f"a worker cannot import TensorFlow, which runs the model ({error}): "
            "install TensorFlow on the workers, in an image with --build-arg "
            "TENSORFLOW=1"
        ) from error

    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    try:
        _check_operations(path)
        model = tf.saved_model.load(path)
        signature = model.signatures[_SIGNATURE]
    except contract.DatasetError:
        raise
    except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
        raise contract.DatasetError(
            f"cannot load model={path} ({type(error).__name__}: {error!s:.200}): run "
            "trainer.export again"
        ) from error

    def encode(
        images: np.ndarray, conditions: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        # Keep a reference to the model: a signature does not hold one.
        assert model is not None
        inputs = {"image": tf.constant(images)}
        if condition is not None and conditions is not None:
            inputs[condition] = tf.constant(conditions, tf.int64)
        outputs = signature(**inputs)
        mean, log_var = (outputs[name].numpy() for name in contract.LATENTS)
        return mean, log_var

    return encode
