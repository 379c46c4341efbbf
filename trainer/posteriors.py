"""The posteriors of a split: of its images, or as pipeline.encode wrote them."""

import dataclasses

import numpy as np
import tensorflow as tf

from pipeline import contract
from trainer import input_pipeline
from trainer.trained import TrainedRun

_BATCH_SIZE = 200


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


def encode_split(
    run: TrainedRun, split: str, latents_dir: str | None = None
) -> EncodedSplit:
    """Returns the posteriors of a split, in the order on disk.

    Args:
        run: Whose encoder.
        split: Of its dataset.
        latents_dir: What `pipeline.encode` made of the dataset with the run's export,
            from which they are read; None to encode the images.

    Raises:
        contract.DatasetError: If the split cannot be read.
        ValueError: As `check_latents`.
    """
    if latents_dir is not None:
        return load_split(check_latents(run, latents_dir), latents_dir, split)
    encode = tf.function(run.vae.encode)
    parts = []
    for batch in run.batches(split, _BATCH_SIZE):
        del batch["image"]
        mean, log_var = encode(batch.pop("input"), batch.pop("conditions"))
        latents = (mean.numpy(), log_var.numpy())
        parts.append({**batch, **dict(zip(contract.LATENTS, latents, strict=True))})
    return _joined(parts)


def check_latents(run: TrainedRun, latents_dir: str) -> contract.Manifest:
    """Returns the manifest of a run's latents.

    Raises:
        contract.DatasetError: If there is no complete dataset.
        ValueError: If it holds images, or the latents of another model or dataset, or
            the run's encoder sees other images than records hold.
    """
    manifest = contract.load_manifest(latents_dir)
    if not manifest.has_latents:
        raise ValueError(
            f"--latents={latents_dir} holds images: give the --output of a "
            "pipeline.encode"
        )
    for name, digest in (("model", run.model_digest), ("dataset", run.manifest.digest)):
        if manifest.settings.get(name) != digest:
            raise ValueError(
                f"--latents={latents_dir} are of the {name} of digest "
                f"{manifest.settings.get(name)}, and the run's is {digest}: run "
                "trainer.export and pipeline.encode for this run, or leave the flag out"
            )
    config = run.config
    is_drawn = config.binarize == "dynamic"
    if is_drawn or config.input_noise_stddev or config.input_drop_fraction:
        raise ValueError(
            f"--latents={latents_dir}: the run's encoder sees its images "
            f"{'made black and white' if is_drawn else 'with noise'} by chance, and "
            "they are the latents of other draws: leave the flag out"
        )
    return manifest


def load_split(
    manifest: contract.Manifest, latents_dir: str, split: str
) -> EncodedSplit:
    """Returns the latents of a split that `pipeline.encode` wrote.

    Args:
        manifest: Of the latents.
        latents_dir: Where they are.
        split: Name of a split, or of several, joined by a plus.

    Raises:
        contract.DatasetError: If the split cannot be read.
    """
    batches = input_pipeline.examples(manifest, latents_dir, split, _BATCH_SIZE)
    parts = [{name: x.numpy() for name, x in batch.items()} for batch in batches]
    for part in parts:
        part["key"] = np.char.decode(part["key"].astype(bytes))
    return _joined(parts)


def _joined(parts: list[dict[str, np.ndarray]]) -> EncodedSplit:
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found.pop("record_id")
    return EncodedSplit(
        keys=found.pop("key"),
        posterior_mean=found.pop("posterior_mean"),
        posterior_log_var=found.pop("posterior_log_var"),
        features=found,
    )
