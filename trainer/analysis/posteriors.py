"""Posteriors of a split: encoded from its images, or written by pipeline.encode."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline import contract
from pipeline.storage import manifests
from trainer.data import input_pipeline
from trainer.runs.trained import TrainedRun

_BATCH_SIZE = 200


@dataclasses.dataclass(frozen=True)
class EncodedSplit:
    """Posteriors of a split.

    Attributes:
        keys: `[n]` strings.
        posterior_mean: `[n, latent_dim]`.
        posterior_log_var: `[n, latent_dim]`.
        features: Labels, attributes and other features, `[n, ...]` by name.
    """

    keys: np.ndarray
    posterior_mean: np.ndarray
    posterior_log_var: np.ndarray
    features: dict[str, np.ndarray]


def encode_split(
    run: TrainedRun, split: str, latents_dir: str | None = None
) -> EncodedSplit:
    """Returns the posteriors of a split, in the order on disk.

    Args:
        run: Trained run with the encoder.
        split: Split of the run's dataset.
        latents_dir: Directory of latents that `pipeline.encode` made from the dataset
            with the run's export; None to encode the images.

    Raises:
        contract.DatasetError: If the split cannot be read.
        ValueError: As `check_latents`.
    """
    if latents_dir is not None:
        return check_latents(run, latents_dir).load_split(split)
    parts = []
    for batch in run.batches(split, _BATCH_SIZE):
        del batch["image"]
        mean, log_var = run.vae.compiled_encode(
            batch.pop("input"), batch.pop("conditions")
        )
        latents = (mean.numpy(), log_var.numpy())
        parts.append({**batch, **dict(zip(contract.LATENTS, latents, strict=True))})
    return _joined(parts)


@dataclasses.dataclass(frozen=True)
class StoredLatents:
    """Latents that `pipeline.encode` wrote with the model of a run.

    Attributes:
        run: Run of the model.
        directory: Directory of the latents.
        manifest: Manifest of the latents.
        are_of_dataset: Whether the latents belong to the images of the run's dataset,
            and not to other images.
    """

    run: TrainedRun
    directory: str
    manifest: contract.Manifest
    are_of_dataset: bool

    def batches(self, split: str) -> Iterator[dict[str, np.ndarray]]:
        """Yields a whole split, once, in the order on disk.

        Args:
            split: Name of a split, or several names joined by a plus.

        Yields:
            `key` `[b]` strings, `posterior_mean` and `posterior_log_var`
            `[b, latent_dim]`, and other features.

        Raises:
            contract.DatasetError: If the split cannot be read.
        """
        for batch in input_pipeline.examples(
            self.manifest, self.directory, split, _BATCH_SIZE
        ):
            arrays = {name: tensor.numpy() for name, tensor in batch.items()}
            yield {**arrays, "key": np.char.decode(arrays["key"].astype(bytes))}

    def load_split(self, split: str) -> EncodedSplit:
        """Returns a whole split; see `batches`."""
        return _joined(list(self.batches(split)))

    def pictured(
        self, split: str, keys: np.ndarray | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yields the examples of `batches` with an added `image`, `[b, h, w, c]`.

        Latents of the run's dataset come with its images. Other images are not
        available, so the decoder makes a mean image from each posterior mean.

        Args:
            split: As for `batches`.
            keys: Keys of the examples to yield; None for all.

        Raises:
            contract.DatasetError: If the split cannot be read.
        """
        images = (
            self.run.batches(split, _BATCH_SIZE) if self.are_of_dataset else iter(())
        )
        for batch in self.batches(split):
            if self.are_of_dataset:
                batch["image"] = next(images)["image"]
            if keys is not None:
                chosen = np.isin(batch["key"], keys)
                batch = {name: values[chosen] for name, values in batch.items()}
            if "image" not in batch:
                batch["image"] = self._decoded(batch)
            yield batch

    def _decoded(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        mean = batch["posterior_mean"]
        # `vectors` only needs the batch size of an image, so pass `mean` in its place.
        conditions = self.run.conditioning.vectors({**batch, "image": mean})
        return self.run.vae.mean_image(mean, conditions).numpy()


def open_latents(run: TrainedRun, latents_dir: str) -> StoredLatents:
    """Returns stored latents of a run's model; their images may come from any dataset.

    Raises:
        contract.DatasetError: If `latents_dir` holds no complete dataset.
        ValueError: If the dataset holds images, or the latents of another model.
    """
    manifest = manifests.load_local(latents_dir, "latents")
    if not manifest.has_latents:
        raise ValueError(
            f"latents={latents_dir} holds images: give the `output` directory of "
            "pipeline.encode"
        )
    if manifest.settings.get("model") != run.model_digest:
        raise ValueError(
            f"latents={latents_dir} holds latents of the model with digest "
            f"{manifest.settings.get('model')}, but this run has digest "
            f"{run.model_digest}: run trainer.export and pipeline.encode for this "
            "run, or leave the argument out"
        )
    are_of_dataset = _are_of(run.manifest, manifest)
    return StoredLatents(run, latents_dir, manifest, are_of_dataset)


def check_latents(run: TrainedRun, latents_dir: str) -> StoredLatents:
    """Returns a run's stored latents, and checks that they fit its dataset and encoder.

    Raises:
        contract.DatasetError: If `latents_dir` holds no complete dataset.
        ValueError: As `open_latents`; or if the latents belong to other images, or the
            run's encoder sees randomly changed images.
    """
    stored = open_latents(run, latents_dir)
    if not stored.are_of_dataset:
        images = stored.manifest.settings.get("dataset")
        raise ValueError(
            f"latents={latents_dir} holds latents of "
            f"{f'the dataset with digest {images}' if images else 'raw images'}, but "
            f"the dataset of this run has digest {run.manifest.digest}: run "
            "pipeline.encode on that dataset, or leave the argument out"
        )
    config = run.config
    is_drawn = config.binarize == "dynamic"
    if is_drawn or config.input_noise_stddev or config.input_drop_fraction:
        raise ValueError(
            f"latents={latents_dir} holds latents of other random draws: the "
            "encoder of this run "
            f"{'binarizes its images' if is_drawn else 'adds noise to its images'} at "
            "random; leave the argument out"
        )
    return stored


def _are_of(dataset: contract.Manifest, latents: contract.Manifest) -> bool:
    """Returns whether latents belong to a dataset, or to the raw images behind it."""
    if "dataset" in latents.settings:
        return latents.settings["dataset"] == dataset.digest
    return _origin(latents) == _origin(dataset)


def _origin(manifest: contract.Manifest) -> dict[str, Any]:
    """Returns the source, settings and shards of raw images, for a comparison."""
    of_latents = ("model", "batch_size")
    return {
        "source": manifest.source_fingerprint,
        "settings": {
            name: value
            for name, value in manifest.settings.items()
            if name not in of_latents
        },
        "shards": [
            (shard.name, shard.num_examples)
            for split in manifest.splits.values()
            for shard in split.shards
        ],
    }


def _joined(parts: list[dict[str, np.ndarray]]) -> EncodedSplit:
    columns = {
        name: np.concatenate([part[name] for part in parts]) for name in parts[0]
    }
    columns.pop("record_id")
    return EncodedSplit(
        keys=columns.pop("key"),
        posterior_mean=columns.pop("posterior_mean"),
        posterior_log_var=columns.pop("posterior_log_var"),
        features=columns,
    )
