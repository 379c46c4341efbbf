"""A trained run, loaded to be used: its model, its settings and its data."""

import dataclasses
import io
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from pipeline import contract
from trainer import conditions, corruption, input_pipeline, state, workdir
from trainer.models.vae import VAE

_BATCH_SIZE = 200


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A run's newest checkpoint and what it was trained on.

    Attributes:
        config: Resolved settings.
        manifest: Of the dataset.
        dataset_dir: Where it is.
        vae: The averaged model, which is evaluated and pictured.
        step: Updates made.
    """

    config: ConfigDict
    manifest: contract.Manifest
    dataset_dir: str
    vae: VAE
    step: int

    def batches(self, split: str, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
        """Yields a whole split, once, in the order on disk.

        Args:
            split: Name of a split, or of several, joined by a plus.
            batch_size: Of all batches but the last.

        Yields:
            `image` `[b, h, w, c]`, as the model is to reconstruct it, and `input`, as
            its encoder sees it (black and white, or with noise, where the settings say
            so; the same in each call); `key` `[b]` strings; `conditions`
            `[b, num_conditions]`; other features.

        Raises:
            contract.DatasetError: If the split cannot be read.
        """
        batches = input_pipeline.examples(
            self.manifest, self.dataset_dir, split, batch_size
        )
        for index, batch in enumerate(batches):
            arrays = {name: tensor.numpy() for name, tensor in batch.items()}
            keys = np.char.decode(arrays["key"].astype(bytes))
            targets, inputs = corruption.fixed_targets_and_inputs(
                batch["image"], self.config, index
            )
            yield {
                **arrays,
                "key": keys,
                "image": targets.numpy(),
                "input": inputs.numpy(),
                "conditions": conditions.of_batch(batch, self.config).numpy(),
            }


def load(run_dir: pathlib.Path, dataset_dir: str | None = None) -> TrainedRun:
    """Returns the run in a workdir.

    Args:
        run_dir: The workdir.
        dataset_dir: Where the dataset is now; by default where it was in training.

    Raises:
        ValueError: If there is no run, the dataset is another one or cannot be read
            (`contract.DatasetError`), or no checkpoint can be used
            (`checkpoints.CheckpointError`).
    """
    try:
        saved = workdir.read_json(run_dir / "config.json")
        dataset = workdir.read_json(run_dir / "dataset.json", "digest", "path")
    except FileNotFoundError as error:
        raise ValueError(
            f"--workdir={run_dir} holds no run ({pathlib.Path(error.filename).name} is "
            "missing): give the --workdir of a trainer.train"
        ) from error
    dataset_dir = dataset_dir or dataset["path"]
    manifest = contract.load_manifest(dataset_dir)
    if manifest.digest != dataset["digest"]:
        raise ValueError(
            f"{run_dir} was trained on the dataset of digest {dataset['digest']}, and "
            f"{dataset_dir} has {manifest.digest}: give its --dataset"
        )
    try:
        config = ConfigDict(saved)
        vae, step = state.load_averaged_vae(config, manifest, run_dir / "checkpoints")
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{run_dir / 'config.json'} lacks a setting, or has one of another type "
            f"({type(error).__name__}: {error!s:.200}): train with this release"
        ) from error
    return TrainedRun(config, manifest, dataset_dir, vae, step)


@dataclasses.dataclass(frozen=True)
class EncodedSplit:
    """The posteriors of a split.

    Attributes:
        keys: `[n]` strings.
        posterior_mean: `[n, latent_dim]`.
        posterior_log_var: `[n, latent_dim]`.
        features: Labels, attributes and the like, `[n, ...]` by name.
    """

    keys: np.ndarray
    posterior_mean: np.ndarray
    posterior_log_var: np.ndarray
    features: dict[str, np.ndarray]


def encode_split(run: TrainedRun, split: str) -> EncodedSplit:
    """Returns the posteriors of a split, in the order on disk.

    Raises:
        contract.DatasetError: If the split cannot be read.
    """
    encode = tf.function(run.vae.encode)
    means, log_vars, others = [], [], []
    for batch in run.batches(split, _BATCH_SIZE):
        del batch["image"]
        mean, log_var = encode(batch.pop("input"), batch.pop("conditions"))
        means.append(mean.numpy())
        log_vars.append(log_var.numpy())
        others.append(batch)
    features = {
        name: np.concatenate([batch[name] for batch in others]) for name in others[0]
    }
    features.pop("record_id")
    return EncodedSplit(
        keys=features.pop("key"),
        posterior_mean=np.concatenate(means),
        posterior_log_var=np.concatenate(log_vars),
        features=features,
    )


def save_npz(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by name, whole or not at all, and without pickles."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    workdir.write_atomically(path, buffer.getvalue())
