"""Sampling of a trained VAE: images from latents, and latents from images.

Every function that needs a model takes a `TrainedRun`. Images are `[n, h, w, c]` in
[-1, 1], latents `[n, latent_dim]`. All randomness is a function of the given seed.
"""

import dataclasses
import json
import pathlib

import numpy as np
import tensorflow as tf

from pipeline.process import bars
from pipeline.storage import files
from trainer.analysis.examples import Examples
from trainer.analysis.posteriors import EncodedSplit
from trainer.models.vae import draw_posterior
from trainer.numerics import random
from trainer.numerics.streams import Stream
from trainer.runs.trained import TrainedRun

_BATCH_SIZE = 200


@dataclasses.dataclass(frozen=True)
class Predictive:
    """Images that p(x|z) predicts for some latents.

    Attributes:
        z: `[n, latent_dim]`, the latents.
        mean: `[n, h, w, c]`, the mean of p(x|z); 2 p - 1 for a Bernoulli likelihood
            with probability p.
        sample: `[n, h, w, c]`, one draw of p(x|z) for each latent.
    """

    z: np.ndarray
    mean: np.ndarray
    sample: np.ndarray

    @property
    def probability(self) -> np.ndarray:
        """Mean as a share of white: 0 for black, 1 for white."""
        return (self.mean + 1) / 2


def encode(run: TrainedRun, examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean and the log variance of posteriors, `[n, latent_dim]` each."""
    parts = [
        run.vae.encode(
            examples.inputs[start : start + _BATCH_SIZE],
            examples.conditions[start : start + _BATCH_SIZE],
        )
        for start in range(0, len(examples.inputs), _BATCH_SIZE)
    ]
    mean, log_var = zip(*parts, strict=True)
    return np.concatenate(mean), np.concatenate(log_var)


def decode(
    run: TrainedRun, z: np.ndarray, conditions: np.ndarray, seed: int
) -> Predictive:
    """Returns the images that the decoder predicts for latents.

    Args:
        run: Trained run with the decoder.
        z: `[n, latent_dim]`.
        conditions: `[m, num_conditions]` for a conditional decoder, repeated as often
            as needed; see `examples.find_conditions`.
        seed: Seed of the drawn sample.

    Raises:
        ValueError: If the latents are not `[n, latent_dim]`, or not finite.
    """
    z = np.asarray(z, np.float32)
    latent_dim = run.config.latent_dim
    if z.ndim != 2 or z.shape[1] != latent_dim or not len(z):
        raise ValueError(
            f"latents have the shape {list(z.shape)}, but this run needs [n, "
            f"{latent_dim}]"
        )
    if not np.isfinite(z).all():
        raise ValueError("latents must be finite numbers")
    conditions = conditions[np.arange(len(z)) % len(conditions)]
    means, samples = [], []
    for start in bars.over(range(0, len(z), _BATCH_SIZE), "decoding", "batch"):
        part = slice(start, start + _BATCH_SIZE)
        outputs = run.vae.decode(z[part], conditions[part])
        means.append(run.vae.likelihood.mean(outputs).numpy())
        pixel_seed = random.fold(seed, Stream.GENERATED_PIXELS, start)
        samples.append(run.vae.likelihood.draw(outputs, pixel_seed).numpy())
    return Predictive(z, np.concatenate(means), np.concatenate(samples))


def draw_prior(run: TrainedRun, num: int, seed: int) -> np.ndarray:
    """Returns draws of N(0, I), `[num, latent_dim]`."""
    return prior_noise(num, run.config.latent_dim, seed).numpy()


def prior_noise(
    num: int | tf.Tensor, latent_dim: int, seed: int | tf.Tensor
) -> tf.Tensor:
    """Returns draws of N(0, I), `[num, latent_dim]`; works in a graph too."""
    return random.normal((num, latent_dim), seed, Stream.GENERATED_PRIOR)


def draw_posteriors(run: TrainedRun, examples: Examples, seed: int) -> np.ndarray:
    """Returns a draw of q(z|x) for each example, `[n, latent_dim]`."""
    mean, log_var = encode(run, examples)
    noise = random.normal(mean.shape, seed, Stream.GENERATED_POSTERIOR)
    return draw_posterior(mean, log_var, noise).numpy()


def draw_posterior_of(encoded: EncodedSplit, seed: int) -> np.ndarray:
    """Returns a draw of q(z|x) for each example: draws of the aggregate posterior."""
    noise = random.normal(
        encoded.posterior_mean.shape, seed, Stream.GENERATED_POSTERIOR
    )
    return draw_posterior(
        encoded.posterior_mean, encoded.posterior_log_var, noise
    ).numpy()


def load_latents(path: pathlib.Path) -> np.ndarray:
    """Returns the latents in a user's file, `[n, latent_dim]`.

    Args:
        path: A `.npy` file; an npz file of `trainer.generate`, with the latents `z` or
            the posterior means; or a JSON file with a list of numbers for each latent.
            A file with a single latent may hold its numbers without an outer list.

    Raises:
        ValueError: If the file has none of these forms.
    """
    try:
        if path.suffix == ".npy":
            with open(path, "rb") as file:
                values = np.lib.format.read_array(file, allow_pickle=False)
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                values = arrays["z" if "z" in arrays else "posterior_mean"]
        else:
            values = np.array(json.loads(path.read_text(encoding="utf-8")))
        return np.atleast_2d(values.astype(np.float32))
    except OSError:
        raise
    except files.ARCHIVE_ERRORS as error:
        raise ValueError(
            f"latents={path} is neither a .npy file of numbers, nor an npz file of "
            "trainer.generate with `z` or `posterior_mean`, nor a JSON list of lists "
            f"of numbers: {error}"
        ) from error
