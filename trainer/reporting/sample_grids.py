"""Picture grids that show what a VAE has learnt.

All grids use inference mode, with the batch-norm statistics of training.
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

# Limit on a scatter's points: they stay in memory, and more points show nothing new.
MAX_SCATTERED = 10_000

NUM_INTERPOLATED = 25
NUM_TRAVERSED, _TRAVERSAL_LIMIT = 10, 3.0
_BATCH_SIZE = 500
_STRIP_CELL_SIDE = 96


@dataclasses.dataclass(frozen=True)
class Shown:
    """The examples in a run's pictures, the same at every step.

    Attributes:
        images: `[n, h, w, c]` in [-1, 1], shown beside their reconstructions.
        inputs: `[n, h, w, c]` encoder inputs of the reconstructions.
        conditions: `[n, num_conditions]` conditions of the images.
        sample_conditions: `[s, num_conditions]` conditions of the prior samples.
        scattered: Inputs `[m, h, w, c]` whose latents the scatter shows, and their
            conditions `[m, num_conditions]`; None for no scatter.
        labels: `[m]` labels of the scattered inputs, or None.
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
    """Returns a function per name that draws a `[height, width, c]` grid.

    All model outputs are computed here, and the functions only draw them. So a thread
    may draw while training goes on. The random draws depend only on the seed, so grids
    of different steps show the same samples developing. Grids are uint8.

    Args:
        vae: Model in inference mode.
        shown: The examples.
        seed: Seed of the run.
        num_traversals: Number of latents in the grid of traversals; 0 for no grid.
        draws_reconstructions: Whether to draw reconstructions from p(x|z) with z drawn
            from the posterior; otherwise they are decoded posterior means.

    Returns:
        `reconstruction`: see `image_grid.compare`.
        `samples/sampled`: decoded prior draws, in a square or a row.
        `samples/interpolated`: 25 linear steps between two prior draws, 5 x 5.
        `latents/traversed`: the first example, with one latent per row replaced by ten
        values from -3 to 3; latents of the largest KL divergence come first. Absent if
        `num_traversals` is 0.
        `latents/scatter`: latents as points; absent if `shown.scattered` is None.
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
        # The latents with the largest KL divergence, in descending order.
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
    """Returns decoded prior draws; every call uses the same latents.

    Args:
        vae: Model in inference mode.
        conditions: `[n, num_conditions]` conditions of the samples.
        seed: Seed of the run.

    Returns:
        `[n, height, width, channels]` in [-1, 1].
    """
    num = len(conditions)
    return vae.mean_image(_prior_draws(vae, num, seed)[:num], conditions).numpy()


def num_columns(num_images: int) -> int:
    """Returns the columns of a square grid, or of a single row if no square fits.

    Example:
        >>> num_columns(25), num_columns(10)
        (5, 10)
    """
    side = math.isqrt(num_images)
    return side if side**2 == num_images else num_images


def strip(pictures: list[list[np.ndarray]]) -> np.ndarray:
    """Joins the pictures of several steps in one picture, one step per row.

    Args:
        pictures: Pictures of each step, each `[height, width, 1 or 3]` uint8; they are
            resized to one height.

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
    """Returns `num` equal steps between two latents, both ends included.

    Args:
        start: `[latent_dim]`.
        end: `[latent_dim]`.
        num: Number of steps, at least 2.
        spherical: Whether to follow the arc about the origin in equal angles, instead
            of the chord. Most of the prior's mass lies at a distance of
            sqrt(latent_dim) from the origin, and a chord leaves that shell.
        dtype: Type of the weights of the two ends.

    Returns:
        `[num, latent_dim]`; if the ends are float32, of type `dtype`.

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
        raise ValueError(f"an interpolation needs at least 2 steps, not {num}")
    # A float32 step size, because `np.linspace` would compute float32 in float64.
    share = np.arange(num, dtype=dtype)[:, np.newaxis] * (dtype(1) / dtype(num - 1))
    share[-1] = 1
    lengths = np.linalg.norm(start), np.linalg.norm(end)
    if spherical and all(lengths):
        cosine = np.clip(start @ end / (lengths[0] * lengths[1]), -1, 1)
        angle = math.acos(cosine)
        # Latents on one line through the origin define no arc.
        if 1e-6 < angle < math.pi - 1e-6:
            weights = np.sin((1 - share) * angle), np.sin(share * angle)
            return (weights[0] * start + weights[1] * end) / math.sin(angle)
    return (1 - share) * start + share * end


def traverse(
    z: np.ndarray, latents: Sequence[int], limit: float, num: int
) -> np.ndarray:
    """Returns copies of a latent, with one value replaced in each row.

    Args:
        z: `[latent_dim]`, start of the traversals.
        latents: Indices of the values to replace.
        limit: Traversals run from -limit to limit.
        num: Number of steps per traversal.

    Returns:
        `[len(latents), num, latent_dim]`.

    Raises:
        ValueError: If an index in `latents` does not exist.
    """
    missing = [latent for latent in latents if not 0 <= latent < len(z)]
    if missing:
        raise ValueError(
            f"`dimensions` has {missing[0]}: a latent must be from 0 to {len(z) - 1}"
        )
    traversals = np.tile(z, (len(latents), num, 1))
    for row, latent in enumerate(latents):
        traversals[row, :, latent] = np.linspace(-limit, limit, num)
    return traversals


def _cell(picture: np.ndarray) -> np.ndarray:
    height, width, channels = picture.shape
    image = Image.fromarray(picture[..., 0] if channels == 1 else picture)
    size = (round(width * _STRIP_CELL_SIDE / height), _STRIP_CELL_SIDE)
    # Enlarge pixels sharply, but average a scatter that shrinks.
    is_growing = height < _STRIP_CELL_SIDE
    resample = Image.Resampling.NEAREST if is_growing else Image.Resampling.LANCZOS
    return np.asarray(image.convert("RGB").resize(size, resample))


def _scatter(latents: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    # Imported lazily: Matplotlib is slow to import, and most callers do not need it.
    from trainer.reporting import plots

    return plots.latent_scatter(latents, labels)


def _prior_draws(vae: VAE, num_samples: int, seed: int) -> tf.Tensor:
    """Returns the latents of the samples, and the two ends of the interpolation."""
    shape = [num_samples + 2, vae.latent_dim]
    return random.normal(shape, seed, Stream.PICTURE_PRIOR)
