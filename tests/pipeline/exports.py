"""An export with a matrix for an encoder, so NumPy can compute its posteriors."""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np

from pipeline import contract
from pipeline.latents import export_description
from tests import preloaded

ROOT = pathlib.Path(__file__).parents[2]
LATENT_DIM = 4
DIGEST = "ab" * 32


def write(
    path: pathlib.Path,
    dataset: pathlib.Path,
    condition: str = "none",
    *,
    writes: object = "",
    **changes: Any,
) -> pathlib.Path:
    """Writes an export for the images of a dataset, in another process.

    This process does not import TensorFlow, so it stays like a new worker. If `writes`
    names a file, the model writes that file whenever it encodes.
    """
    subprocess.run(
        [
            preloaded.shared_python(),
            "-m",
            __name__,
            path,
            dataset,
            condition,
            str(writes),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
        check=True,
    )
    manifest = json.loads(contract.load_manifest(dataset).to_json())
    body = {
        "config": {"latent_dim": LATENT_DIM, "condition": condition},
        "model_digest": DIGEST,
        "dataset": {name: manifest[name] for name in ("settings", "features")},
        **changes,
    }
    description = path / export_description.DESCRIPTION
    description.parent.mkdir()
    description.write_text(json.dumps(body))
    return path


def weights(num_values: int) -> np.ndarray:
    """Returns weights `[num_values, 2 * LATENT_DIM]`; the first half gives the mean."""
    rng = np.random.default_rng(0)
    return rng.normal(0, 0.1, [num_values, 2 * LATENT_DIM]).astype(np.float32)


def posteriors(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and log variance, each `[n, LATENT_DIM]`, of images in [-1, 1]."""
    flat = images.reshape(len(images), -1)
    projected = flat @ weights(flat.shape[1])
    return projected[:, :LATENT_DIM], projected[:, LATENT_DIM:]


def _save(path: str, dataset: str, condition: str, writes: str) -> None:
    import tensorflow as tf

    manifest = contract.load_manifest(dataset)
    module = tf.Module()
    module.weights = tf.Variable(weights(int(np.prod(manifest.image_shape))))

    def encode(image: tf.Tensor, **conditions: tf.Tensor) -> dict[str, tf.Tensor]:
        if writes:
            tf.io.write_file(writes, "written")
        flat = tf.reshape(image, [tf.shape(image)[0], -1])
        projected = flat @ module.weights
        added = sum(tf.reduce_sum(values, 1) for values in conditions.values())
        added = tf.cast(added, tf.float32) * tf.ones([tf.shape(image)[0]])
        mean = projected[:, :LATENT_DIM] + added[:, tf.newaxis]
        return {"posterior_mean": mean, "posterior_log_var": projected[:, LATENT_DIM:]}

    specs = {"image": tf.TensorSpec([None, *manifest.image_shape], name="image")}
    if condition != "none":
        shape = manifest.features[condition].shape
        specs[condition] = tf.TensorSpec([None, *shape], tf.int64, condition)
    function = tf.function(encode, autograph=False).get_concrete_function(**specs)
    tf.saved_model.save(module, path, signatures={"encode_preprocessed": function})


if __name__ == "__main__":
    _save(*sys.argv[1:])
