"""A trained run, loaded for use: its model, its settings and its data."""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from pipeline import contract
from pipeline.process import variables
from pipeline.storage import manifests
from trainer.data import input_pipeline
from trainer.data.corruption import Corruption, fixed_targets_and_inputs
from trainer.models.conditions import Conditioning
from trainer.models.vae import VAE
from trainer.runs import setting_checks, settings, state, workdir
from trainer.system import atomic_files


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """Model of a run's newest checkpoint, with the run's settings and dataset.

    Attributes:
        config: Resolved settings.
        manifest: Manifest of the dataset.
        dataset_dir: Directory of the dataset; it may have been moved or deleted.
        vae: Averaged model, for evaluations and pictures.
        step: Number of updates made.
    """

    config: ConfigDict
    manifest: contract.Manifest
    dataset_dir: str
    vae: VAE
    step: int

    @property
    def conditioning(self) -> Conditioning:
        """Conditions of the model."""
        return settings.select(self.config, Conditioning)

    @property
    def corruption(self) -> Corruption:
        """Settings of the model's targets and inputs."""
        return settings.select(self.config, Corruption)

    @property
    def has_dataset(self) -> bool:
        """Whether `dataset_dir` holds a dataset."""
        return _is_dataset(self.dataset_dir)

    @property
    def model_digest(self) -> str:
        """Hex sha256 of the model: the names, types, shapes and values of its weights.

        Exports of the model record the digest, and so do the latents that an export
        computed.
        """
        sha256 = hashlib.sha256()
        for name, variable in sorted(self.vae.named_variables().items()):
            values = np.asarray(variable)
            header = [name, values.dtype.name, values.shape]
            sha256.update(json.dumps(header).encode())
            sha256.update(values.tobytes())
        return sha256.hexdigest()

    def check_dataset(self) -> None:
        """Checks that `dataset_dir` holds a dataset.

        Raises:
            contract.DatasetError: If `dataset_dir` holds no dataset.
        """
        if not self.has_dataset:
            raise _missing(self.dataset_dir)

    def batches(self, split: str, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
        """Yields a whole split once, in the order on disk.

        Args:
            split: Name of a split, or names of several splits joined by a plus.
            batch_size: Number of examples in every batch except the last.

        Yields:
            `image` `[b, h, w, c]`, the target that the model reconstructs; `input`
            `[b, h, w, c]`, the image that the encoder reads; `key` `[b]` strings;
            `conditions` `[b, num_conditions]`; and other features. Settings may
            binarize the image or add noise, in the same way in every call.

        Raises:
            contract.DatasetError: If the dataset is missing, the split cannot be read,
                or a label is not a class of the model.
        """
        self.check_dataset()
        batches = input_pipeline.examples(
            self.manifest, self.dataset_dir, split, batch_size
        )
        first = 0
        for batch in batches:
            arrays = {name: tensor.numpy() for name, tensor in batch.items()}
            self.conditioning.check_labels(arrays)
            keys = np.char.decode(arrays["key"].astype(bytes))
            targets, inputs = fixed_targets_and_inputs(
                batch["image"], self.corruption, self.config.seed, first
            )
            first += len(keys)
            yield {
                **arrays,
                "key": keys,
                "image": targets.numpy(),
                "input": inputs.numpy(),
                "conditions": self.conditioning.vectors(batch).numpy(),
            }


def load(run_dir: pathlib.Path, dataset_dir: str | None = None) -> TrainedRun:
    """Returns the run in a workdir, and warns of overridden variables.

    Args:
        run_dir: The workdir.
        dataset_dir: Directory of the dataset. By default the directory that training
            used, which need not exist any more.

    Raises:
        ValueError: If the workdir has no run, the dataset is not the run's or cannot
            be read (`contract.DatasetError`), or no checkpoint can be used
            (`checkpoints.CheckpointError`).
    """
    for phrase in variables.phrases():
        logging.warning("%s", phrase)
    try:
        saved = workdir.read_json(run_dir / "config.json")
        dataset = workdir.read_json(run_dir / "dataset.json", "digest", "path")
    except FileNotFoundError as error:
        name = pathlib.Path(error.filename).name
        raise workdir.no_run_error(run_dir, name) from error
    is_given = dataset_dir is not None
    dataset_dir = dataset_dir or dataset["path"]
    if is_given or _is_dataset(dataset_dir):
        manifest = manifests.load_local(dataset_dir)
    elif "manifest" in dataset:
        text = json.dumps(dataset["manifest"])
        manifest = contract.parse_manifest(
            text,
            run_dir / "dataset.json",
            "restore it from a backup, or give the `dataset` of the training",
        )
    else:
        raise _missing(dataset_dir)
    if manifest.digest != dataset["digest"]:
        raise ValueError(
            f"{run_dir} was trained on the dataset with digest {dataset['digest']}, "
            f"but {dataset_dir} has digest {manifest.digest}: give the `dataset` of "
            "the training"
        )
    try:
        config = ConfigDict(settings.complete(saved))
        setting_checks.check_sizes(config)
        vae, step = state.load_averaged_vae(config, manifest, run_dir / "checkpoints")
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{run_dir / 'config.json'} lacks a setting, or has a setting of another "
            f"type ({type(error).__name__}: {error!s:.200}): train the run again with "
            "this release"
        ) from error
    return TrainedRun(config, manifest, dataset_dir, vae, step)


def _is_dataset(dataset_dir: str) -> bool:
    # A volume that is not mounted leaves an empty directory.
    return os.path.exists(os.path.join(dataset_dir, contract.MANIFEST_NAME))


def _missing(dataset_dir: str) -> contract.DatasetError:
    return contract.DatasetError(
        f"the dataset {dataset_dir} is missing: give its directory by `dataset`"
    )


def save_npz(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by name atomically and without pickles."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    atomic_files.write(path, buffer.getvalue())
