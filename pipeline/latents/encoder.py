"""The encoder of an exported model: what it is, and, in a worker, its posteriors.

This is the only module of the pipeline that runs TensorFlow. It imports it when a
worker loads a model: what lists, plans and prepares images never does.
"""

import concurrent.futures
import concurrent.futures.process
import contextlib
import dataclasses
import functools
import importlib.util
import json
import multiprocessing
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from pipeline import contract
from pipeline.process import limits, variables

# What trainer.export writes of an export, and the signature that takes records' images.
DESCRIPTION = "assets.extra/export.json"
_PARTS = ("saved_model.pb", "variables/variables.index")
_SIGNATURE = "encode_preprocessed"
# How images were made: those of another dataset must be made alike.
_IMAGE_SETTINGS = ("image_size", "image_dtype", "resize", "crop_size", "preprocess")

# Operations of an export that have an effect: they hold, save and restore its weights,
# call its functions, and check its input. Any other may write files, or call Python.
_EFFECTS = {
    *("AssignVariableOp", "DisableCopyOnRead", "ReadVariableOp", "VarHandleOp"),
    *("MergeV2Checkpoints", "RestoreV2", "SaveV2", "VarIsInitializedOp"),
    *("Assert", "If", "StatefulPartitionedCall", "While"),
}

# From images `[n, h, w, c]` float32 in [-1, 1], and what a conditional model is told,
# `[n, ...]` int64, to the posterior's mean and log variance, `[n, latent_dim]`.
Encode = Callable[[np.ndarray, np.ndarray | None], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Export:
    """What an export says of itself.

    Attributes:
        path: Its directory.
        digest: Hex sha256 of the model's weights.
        latent_dim: Number of latents.
        condition: Name of the feature that the model is told, or None.
        settings: Of the dataset that it was trained on.
        features: Of a record of it.
        num_classes: Of the label that it is told, or None.
        are_all_known: Whether every image needs a class.
    """

    path: str
    digest: str
    latent_dim: int
    condition: str | None
    settings: Mapping[str, Any]
    features: Mapping[str, contract.Feature]
    num_classes: int | None = None
    are_all_known: bool = True


def read_export(path: str) -> Export:
    """Returns what an export says of itself.

    Args:
        path: Local directory.

    Raises:
        DatasetError: If it is none of `trainer.export`, or was made by a release that
            did not name its model.
    """
    if "://" in path:
        raise contract.DatasetError(
            f"--model={path} is in a bucket: copy it to a directory that every worker "
            "sees"
        )
    absent = [name for name in _PARTS if not pathlib.Path(path, name).is_file()]
    if absent and pathlib.Path(path, DESCRIPTION).is_file():
        raise contract.DatasetError(
            f"--model={path} is not whole ({', '.join(absent)} is missing): run "
            "trainer.export again"
        )
    try:
        text = pathlib.Path(path, DESCRIPTION).read_text(encoding="utf-8")
        body = json.loads(text)
        config = body["config"]
        condition = config["condition"]
        is_told_labels = condition == "label" and "num_classes" in config
        return Export(
            path=path,
            digest=str(body["model_digest"]),
            latent_dim=int(config["latent_dim"]),
            num_classes=int(config["num_classes"]) if is_told_labels else None,
            are_all_known=not config.get("labelled_fraction", 1) < 1,
            condition=None if condition == "none" else str(condition),
            settings=dict(body["dataset"]["settings"]),
            features={
                name: contract.Feature(
                    str(feature["dtype"]),
                    tuple(feature["shape"]),
                    tuple(feature["names"]),
                )
                for name, feature in body["dataset"]["features"].items()
            },
        )
    except FileNotFoundError as error:
        raise contract.DatasetError(
            f"--model={path} holds no export ({DESCRIPTION} is missing): give the "
            "--output of a trainer.export, at a path that every worker sees"
        ) from error
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise contract.DatasetError(
            f"--model={path}: {DESCRIPTION} is damaged, or of an earlier release "
            f"({type(error).__name__}: {error!s:.200}): run trainer.export again"
        ) from error


def image_settings(export: Export, preprocess: str | None) -> dict[str, Any]:
    """Returns how the images of a model's training were made, by flag of prepare.

    Args:
        export: Of the model.
        preprocess: Name of the function that the user's own flag allows, or None. An
            export is a file from elsewhere, and does not decide what is imported.

    Raises:
        DatasetError: If the export names another function.
    """
    named = export.settings.get("preprocess")
    if named != preprocess:
        raise contract.DatasetError(_unlike_text(export, named, preprocess))
    return {
        name: export.settings[name]
        for name in _IMAGE_SETTINGS
        if name in export.settings
    }


def _unlike_text(export: Export, named: Any, preprocess: str | None) -> str:
    if preprocess is None:
        return (
            f"--model={export.path}: {DESCRIPTION} names the function {named!r:.200}, "
            "which would be imported and called on every image: to allow that, give "
            f"--preprocess={named!r:.200}, or else another --model"
        )
    found = "no function" if named is None else f"the function {named!r:.200}"
    remedy = "leave the flag out" if named is None else "repeat that name"
    return (
        f"--preprocess={preprocess}: {DESCRIPTION} of --model={export.path} names "
        f"{found} for its images: {remedy}, or give another --model"
    )


def check_images(
    export: Export,
    settings: Mapping[str, Any],
    features: Mapping[str, contract.Feature],
    num_channels: int,
    images: str,
) -> None:
    """Checks that a model can encode images, which may be new ones.

    Args:
        export: Of the model.
        settings: How the images are made, by flag of prepare.
        features: Of their records.
        num_channels: Of every image.
        images: The flag that gives them, with its value.

    Raises:
        DatasetError: If they are made otherwise than those of its training, or lack
            what a conditional model is told.
    """
    differences = [
        f"--{name}={settings.get(name)} there, and {export.settings.get(name)} in its "
        "training"
        for name in _IMAGE_SETTINGS
        if settings.get(name) != export.settings.get(name)
    ]
    trained_on = export.features["image"].shape[2]
    if num_channels != trained_on:
        differences.append(
            f"{num_channels} channels there, and {trained_on} in its training"
        )
    if differences:
        raise contract.DatasetError(
            f"the images of {images} are made otherwise than those of "
            f"--model={export.path} ({'; '.join(differences)}): give images that are "
            "made as in its training, or another --model"
        )
    name = export.condition
    if name is None:
        return
    if features.get(name) != export.features[name]:
        raise contract.DatasetError(
            f"--model={export.path} is told {name!r}, and {images} has no such "
            "feature, or with other names: give others, or another --model"
        )


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Turns away what TensorFlow's C++ says to file descriptor 2 when it starts."""
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
    """Checks that a model that is run changes nothing outside of it.

    Raises:
        DatasetError: If it has an operation with such an effect; it is named.
    """
    from tensorflow.python.framework import op_def_registry
    from tensorflow.python.saved_model import loader_impl

    found = set()
    for graph in loader_impl.parse_saved_model(path).meta_graphs:
        found |= {node.op for node in graph.graph_def.node}
        for function in graph.graph_def.library.function:
            found |= {node.op for node in function.node_def}
    known = {name: op_def_registry.get(name) for name in found - _EFFECTS}
    refused = sorted(name for name, op in known.items() if not op or op.is_stateful)
    if refused:
        raise contract.DatasetError(
            f"--model={path} has operations that no export has, and whose effects go "
            f"beyond the model ({', '.join(refused):.200}): give what trainer.export "
            "wrote"
        )


def check_loads(export: Export) -> None:
    """Checks, in a process of its own, that a worker here can load the model.

    A launcher without TensorFlow, whose workers are elsewhere, cannot tell.

    Raises:
        DatasetError: As `load`.
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
                f"the process that loaded --model={export.path} was killed, perhaps "
                "because memory was short: run the same command again"
            ) from error


def _load(export: Export) -> None:
    load(export.path, export.digest, export.condition)


@functools.lru_cache(maxsize=1)
def load(path: str, digest: str, condition: str | None) -> Encode:
    """Returns the encoder of an export, in a process that keeps it.

    It computes on the CPU, and each operation in one thread: workers are what is
    parallel, and the sums of several threads are rounded in another way.

    Args:
        path: Of the export.
        digest: That it must have.
        condition: Name of what it is told, if it is told anything.

    Raises:
        DatasetError: If there is another export, or one that cannot be loaded or does
            more than to compute, or no TensorFlow.
    """
    found = read_export(path)
    if found.digest != digest:
        raise contract.DatasetError(
            f"--model={path} is another export where a worker looks ({found.digest} "
            f"instead of {digest}): every worker must see it at the same path"
        )
    try:
        with _without_stderr():
            import tensorflow as tf
    except ModuleNotFoundError as error:
        raise contract.DatasetError(
            f"a worker cannot import TensorFlow, which runs the model ({error}): "
            "install it where the workers are, in an image by --build-arg TENSORFLOW=1"
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
            f"cannot load --model={path} ({type(error).__name__}: {error!s:.200}): run "
            "trainer.export again"
        ) from error

    def encode(
        images: np.ndarray, told: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        # A signature does not keep its model.
        assert model is not None
        inputs = {"image": tf.constant(images)}
        if condition is not None and told is not None:
            inputs[condition] = tf.constant(told, tf.int64)
        outputs = signature(**inputs)
        mean, log_var = (outputs[name].numpy() for name in contract.LATENTS)
        return mean, log_var

    return encode
