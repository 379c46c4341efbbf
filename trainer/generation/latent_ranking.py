"""Latents to traverse: those the user names, or those of the largest divergence."""

from collections.abc import Sequence

import numpy as np

from trainer.analysis import examples
from trainer.generation import sampling
from trainer.optimization import losses
from trainer.runs.trained import TrainedRun

# Examples whose KL divergence ranks the latents, and latents to traverse by default.
_NUM_RANKED, _NUM_TRAVERSED = 200, 10


def kl_per_latent(run: TrainedRun, split: str) -> np.ndarray | None:
    """Returns the mean KL divergence of each latent in nats; None without a dataset."""
    if not run.has_dataset:
        return None
    shown = examples.find_examples(run, split, _NUM_RANKED)
    mean, log_var = sampling.encode(run, shown)
    return losses.gaussian_kl_per_latent(mean, log_var).numpy().mean(axis=0)


def choose(
    named: Sequence[str] | None, latent_dim: int, kl: np.ndarray | None
) -> list[int]:
    """Returns the numbers of the latents to traverse.

    Args:
        named: Numbers that the user gave, as text; None for the ten latents of the
            largest divergence.
        latent_dim: Number of latents.
        kl: `[latent_dim]` divergences; None to take the first latents.

    Raises:
        ValueError: If a text is no whole number.
    """
    if named is None:
        ranked = np.zeros(latent_dim) if kl is None else -kl
        return np.argsort(ranked, kind="stable")[:_NUM_TRAVERSED].tolist()
    try:
        return [int(text) for text in named]
    except ValueError as error:
        raise ValueError(
            f"dimensions={','.join(named)} must be whole numbers"
        ) from error
