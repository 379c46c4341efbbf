"""Nearest neighbours of generated images, among training images or stored latents."""

import dataclasses

import numpy as np

from trainer.analysis.latents.neighbours import Neighbours, nearest
from trainer.analysis.posteriors import StoredLatents
from trainer.runs.trained import TrainedRun

_BATCH_SIZE = 200


def in_training(run: TrainedRun, queries: np.ndarray) -> Neighbours:
    """Returns the nearest image of the whole training split for each query.

    Raises:
        contract.DatasetError: If the split cannot be read.
    """
    batches = run.batches(run.config.train_split, _BATCH_SIZE)
    return nearest(
        queries, ((batch["key"].tolist(), batch["image"]) for batch in batches)
    )


def by_latents(latents: StoredLatents, queries: np.ndarray) -> Neighbours:
    """Returns the image of the nearest posterior mean for each query latent.

    The search covers the training split if the latents belong to the run's dataset, and
    all splits otherwise.

    Args:
        latents: Stored latents to search.
        queries: `[q, latent_dim]`.

    Returns:
        Neighbours by L2 distance of latents, with their images; see
        `StoredLatents.pictured`.

    Raises:
        contract.DatasetError: If a split cannot be read.
    """
    is_own = latents.are_of_dataset
    split = (
        latents.run.config.train_split if is_own else "+".join(latents.manifest.splits)
    )
    neighbours = nearest(
        queries[:, np.newaxis, np.newaxis],
        (
            (batch["key"].tolist(), batch["posterior_mean"][:, np.newaxis, np.newaxis])
            for batch in latents.batches(split)
        ),
    )
    keys = np.array(neighbours.keys)
    by_key = {
        key: image
        for batch in latents.pictured(split, keys)
        for key, image in zip(batch["key"].tolist(), batch["image"], strict=True)
    }
    images = np.stack([by_key[key] for key in neighbours.keys])
    return dataclasses.replace(neighbours, images=images)
