"""The picture grids that show what a VAE has learnt.

All are made in inference mode, with the batch-norm statistics of training.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from trainer.models.vae import VAE, draw_posterior
from trainer.numerics import random
from trainer.numerics.streams import Stream
from trainer.optimization import losses
from trainer.reporting import image_grid

# Points of a scatter; with more it shows no more, and they are held in memory.
MAX_SCATTERED = 10_000

NUM_INTERPOLATED = 25
NUM_TRAVERSED, _TRAVERSAL_LIMIT = 10, 3.0
_BATCH_SIZE = 500
_STRIP_CELL_SIDE = 96


@dataclasses.dataclass(frozen=True)
class Shown:
    """The examples that a run's pictures show, the same at every step.

    Attributes:
        images: `[n, h, w, c]` in [-1, 1], shown beside their reconstructions.
        inputs: `[n, h, w, c]`, from which the encoder makes these.
        conditions: `[n, num_conditions]` of the images.
        sample_conditions: `[s, num_conditions]` of the samples of the prior.
        scattered: Inputs `[m, h, w, c]` whose latents are shown as points, and their
            conditions `[m, num_conditions]`; or None.
        labels: `[m]` labels of these inputs, or None.
    """

    images: np.ndarray
    inputs: np.ndarray
    conditions: np.ndarray
    sample_conditions: np.ndarray
    scattered: tuple[np.ndarray, np.ndarray] | None = None
    labels: np.ndarray | None = None


def compute_grids(
    vae: VAE,
    shown: Shown,
    *,
    seed: int,
    num_traversals: int,
    draws_reconstructions: bool,
) -> dict[str, Callable[[], np.ndarray]]:
    """Returns by its TensorBoard tag what draws each grid, `[height, width, c]` uint8.

    What they draw is computed here, and drawing needs the model no more: a thread may
    do it while training goes on. The latents drawn depend on the seed alone, so that
    grids of different steps show the same samples developing.

    Args:
        vae: In inference mode.
        shown: The examples.
        seed: Seed of the run.
        num_traversals: Latents in the grid of traversals; 0 for no grid.
        draws_reconstructions: Whether reconstructions are drawn from p(x|z) with z
            drawn from the posterior; otherwise they are decoded posterior means.

    Returns:
        `reconstruction`: see `image_grid.compare`; `samples/sampled`: decoded prior
        draws, in a square or a row; `samples/interpolated`: 25 linear steps between two
        prior draws, 5 x 5; `latents/traversed`: the first example with one of its
        latents replaced by ten values from -3 to 3, by row, those of the largest KL
        divergence first, unless `num_traversals` is 0; and `latents/scatter`
        where there are examples for it.
    """
    conditions = shown.conditions
    mean, log_var = vae.compiled_encode(shown.inputs, conditions)
    if draws_reconstructions:
        noise = random.normal(mean.shape, seed, Stream.PICTURE_POSTERIOR)
        outputs = vae.decode(draw_posterior(mean, log_var, noise), conditions)
        reconstructions = vae.likelihood.draw(
            outputs, random.fold(seed, Stream.PICTURE_PIXELS)
        ).numpy()
    else:
        reconstructions = vae.mean_image(mean, conditions).numpy()
    *_, start, end = _prior_draws(vae, len(shown.sample_conditions), seed).numpy()
    interpolated = interpolate(start, end, NUM_INTERPOLATED, dtype=np.float32)
    path_conditions = np.repeat(shown.sample_conditions[:1], NUM_INTERPOLATED, axis=0)
    samples = draw_samples(vae, shown.sample_conditions, seed)
    drawn = {
        "reconstruction": functools.partial(
            image_grid.compare, shown.images, shown.inputs, reconstructions
        ),
        "samples/sampled": functools.partial(
            image_grid.tile, samples, num_columns(len(samples))
        ),
        "samples/interpolated": functools.partial(
            image_grid.tile,
            vae.mean_image(interpolated, path_conditions).numpy(),
            num_columns(NUM_INTERPOLATED),
        ),
    }
    if num_traversals:
        kl = losses.gaussian_kl_per_latent(mean, log_var).numpy().mean(axis=0)
        # The latents of the largest KL divergence, in descending order.
        latents = np.argsort(-kl, kind="stable")[:num_traversals]
        traversals = traverse(mean[0].numpy(), latents, _TRAVERSAL_LIMIT, NUM_TRAVERSED)
        z = traversals.reshape(-1, traversals.shape[-1])
        drawn["latents/traversed"] = functools.partial(
            image_grid.tile,
            vae.mean_image(z, np.repeat(conditions[:1], len(z), axis=0)).numpy(),
            NUM_TRAVERSED,
        )
    if shown.scattered is not None:
        inputs, conditions = shown.scattered
        means = [
            vae.compiled_encode(
                inputs[start : start + _BATCH_SIZE],
                conditions[start : start + _BATCH_SIZE],
            )[0].numpy()
            for start in range(0, len(inputs), _BATCH_SIZE)
        ]
        drawn["latents/scatter"] = functools.partial(
            _scatter, np.concatenate(means), shown.labels
        )
    return drawn


def draw_samples(vae: VAE, conditions: np.ndarray, seed: int) -> np.ndarray:
    """Returns decoded prior draws, the same latents in every call.

    Args:
        vae: In inference mode.
        conditions: `[n, num_conditions]` of the samples.
        seed: Seed of the run.

    Returns:
        `[n, height, width, channels]` in [-1, 1].
    """
    num = len(conditions)
    return vae.mean_image(_prior_draws(vae, num, seed)[:num], conditions).numpy()


def num_columns(num_images: int) -> int:
    """Returns the side of a square of images, or the length of a row of them.

    Example:
        >>> num_columns(25), num_columns(10)
        (5, 10)
    """
    side = math.isqrt(num_images)
    return side if side**2 == num_images else num_images


def strip(pictures: list[list[np.ndarray]]) -> np.ndarray:
    """Returns pictures of several steps in one, a step to a row.

    Args:
        pictures: Of each step, its pictures `[height, width, 1 or 3]` uint8, which are
            brought to one height.

    Returns:
        `[height, width, 3]` uint8.
    """
    lines = [np.concatenate([_cell(part) for part in row], axis=1) for row in pictures]
    width = max(line.shape[1] for line in lines)
    padded = [
        np.pad(line, [(0, 0), (0, width - line.shape[1]), (0, 0)]) for line in lines
    ]
    return np.concatenate(padded, axis=0)


def interpolate(
    start: np.ndarray,
    end: np.ndarray,
    num: int,
    *,
    spherical: bool = False,
    dtype: type[np.floating] = np.float64,
) -> np.ndarray:
    """Returns `num` steps from one latent to another, both of them included.

    Args:
        start: `[latent_dim]`.
        end: `[latent_dim]`.
        num: At least 2.
        spherical: Whether the steps go along the arc about the origin, by equal
            angles, and not along the chord. Most of the prior's mass lies at a
            distance of sqrt(latent_dim) from the origin, and a chord leaves it.
        dtype: Type of the weights by which both ends are added.

    Returns:
        `[num, latent_dim]`, of the type of the weights if the ends are float32.

    Raises:
        ValueError: If `num` is below 2.

    Source:
        White, "Sampling Generative Networks", section 2.1 (spherical).

    Example:
        >>> x, y = np.array([1.0, 0.0]), np.array([0.0, 1.0])
        >>> interpolate(x, y, 3, spherical=True).round(3).tolist()
        [[1.0, 0.0], [0.707, 0.707], [0.0, 1.0]]
    """
    if num < 2:
        raise ValueError(f"{num} steps: an interpolation has at least 2")
    # Whole steps of one size: `np.linspace` would compute float32 in float64.
    share = np.arange(num, dtype=dtype)[:, np.newaxis] * (dtype(1) / dtype(num - 1))
    share[-1] = 1
    lengths = np.linalg.norm(start), np.linalg.norm(end)
    if spherical and all(lengths):
        cosine = np.clip(start @ end / (lengths[0] * lengths[1]), -1, 1)
        angle = math.acos(cosine)
        # Along one line there is no arc.
        if 1e-6 < angle < math.pi - 1e-6:
            weights = np.sin((1 - share) * angle), np.sin(share * angle)
            return (weights[0] * start + weights[1] * end) / math.sin(angle)
    return (1 - share) * start + share * end


def traverse(
    z: np.ndarray, latents: Sequence[int], limit: float, num: int
) -> np.ndarray:
    """Returns a latent with one of its values replaced, by row.

    Args:
        z: `[latent_dim]`, where the traversals start.
        latents: Which values to replace.
        limit: They go from -limit to limit.
        num: Steps of each.

    Returns:
        `[len(latents), num, latent_dim]`.

    Raises:
        ValueError: If one of `latents` is not there.
    """
    missing = [latent for latent in latents if not 0 <= latent < len(z)]
    if missing:
        raise ValueError(
            f"--dimensions has {missing[0]}: the latents are 0 to {len(z) - 1}"
        )
    traversals = np.tile(z, (len(latents), num, 1))
    for row, latent in enumerate(latents):
        traversals[row, :, latent] = np.linspace(-limit, limit, num)
    return traversals


def _cell(picture: np.ndarray) -> np.ndarray:
    height, width, channels = picture.shape
    image = Image.fromarray(picture[..., 0] if channels == 1 else picture)
    size = (round(width * _STRIP_CELL_SIDE / height), _STRIP_CELL_SIDE)
    # Pixels that grow stay sharp; a scatter that shrinks is averaged.
    is_growing = height < _STRIP_CELL_SIDE
    resample = Image.Resampling.NEAREST if is_growing else Image.Resampling.LANCZOS
    return np.asarray(image.convert("RGB").resize(size, resample))


def _scatter(latents: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    # For Matplotlib, which takes a while, only those wait who want its figure.
    from trainer.reporting import plots

    return plots.latent_scatter(latents, labels)


def _prior_draws(vae: VAE, num_samples: int, seed: int) -> tf.Tensor:
    """Returns the latents of the samples, and two more between which to interpolate."""
    shape = [num_samples + 2, vae.latent_dim]
    return random.normal(shape, seed, Stream.PICTURE_PRIOR)
