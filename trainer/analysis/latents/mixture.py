"""A Gaussian mixture for sampling, fitted to latents after training.

    n  examples        d  latents        k  components

If the aggregate posterior is far from N(0, I), z from such a mixture is nearer to the
decoder's training inputs than z from the prior.
"""

import dataclasses
import math
import pathlib

import numpy as np
from sklearn.mixture import GaussianMixture

from pipeline.process import wording
from pipeline.storage import files
from trainer.system import atomic_files

_MAX_ITERATIONS = 200


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Density sum_c weight_c N(z; mean_c, covariance_c).

    Attributes:
        weights: `[k]` float64, positive, summing to 1.
        means: `[k, d]` float64.
        covariances: `[k, d, d]` float64, symmetric and positive definite.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def __post_init__(self) -> None:
        """Checks shapes, weights and covariances."""
        shape = self.means.shape
        if len(shape) != 2 or (self.weights.shape, self.covariances.shape) != (
            shape[:1],
            (*shape, shape[1]),
        ):
            raise ValueError(
                f"weights {self.weights.shape}, means {shape} and covariances "
                f"{self.covariances.shape} must be [k], [k, d] and [k, d, d]"
            )
        if not (self.weights > 0).all() or abs(self.weights.sum() - 1) > 1e-6:
            raise ValueError(f"weights {self.weights} must be positive and sum to 1")
        try:
            np.linalg.cholesky(self.covariances)
        except np.linalg.LinAlgError:
            raise ValueError("covariances must be positive definite") from None

    def sample(self, num: int, seed: int) -> np.ndarray:
        """Returns draws of z, `[num, d]` float32, each from a random component.

        Args:
            num: Number of draws.
            seed: Seed of the draws; equal seeds give equal draws.
        """
        rng = np.random.default_rng(seed)
        shares = self.weights / self.weights.sum()
        chosen = rng.choice(len(shares), size=num, p=shares)
        noise = rng.standard_normal((num, self.means.shape[1]))
        draws = np.empty_like(noise)
        for c, factor in enumerate(np.linalg.cholesky(self.covariances)):
            is_here = chosen == c
            draws[is_here] = self.means[c] + noise[is_here] @ factor.T
        return draws.astype(np.float32)

    def log_density(self, latents: np.ndarray) -> np.ndarray:
        """Returns ln p(z) of each z in nats, `[n]` float64.

        Args:
            latents: `[n, d]`.

        Raises:
            ValueError: If the latents are not `[n, d]` with the mixture's d.
        """
        num_latents = self.means.shape[1]
        if latents.ndim != 2 or latents.shape[1] != num_latents:
            raise ValueError(f"latents {latents.shape} must be [n, {num_latents}]")
        logs = []
        for c, factor in enumerate(np.linalg.cholesky(self.covariances)):
            white = np.linalg.solve(factor, (latents - self.means[c]).T)
            log_scale = float(np.sum(np.log(np.diagonal(factor))))
            log_scale += 0.5 * num_latents * math.log(2 * math.pi)
            energy = 0.5 * np.sum(white**2, axis=0)
            logs.append(math.log(self.weights[c]) - log_scale - energy)
        return np.logaddexp.reduce(np.stack(logs), axis=0)

    def save(self, path: pathlib.Path) -> None:
        """Writes the arrays as an npz file, atomically."""
        with atomic_files.replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **vars(self))


def fit(latents: np.ndarray, num_components: int, seed: int = 0) -> Mixture:
    """Returns a mixture with full covariances, fitted by expectation maximisation.

    The fit starts from k-means. More components always fit the given latents better, so
    choose k by `log_density` of held-out latents.

    Args:
        latents: `[n, d]`, draws of z from the posteriors. Draws cover the decoder's
            training inputs better than posterior means.
        num_components: k, the number of components.
        seed: Seed of the k-means.

    Raises:
        ValueError: If the latents are not `[n, d]` or not finite, n is below 2, or k is
            not from 1 to n.

    Source:
        Ghosh, Sajjadi, Vergari, Black and Schölkopf, "From Variational to Deterministic
        Autoencoders" (2020), section 4, for ex-post density estimation.

    Example:
        >>> latents = np.random.default_rng(0).normal(5.0, 2.0, size=(1000, 1))
        >>> mixture = fit(latents, num_components=1)
        >>> bool(np.allclose(mixture.means, latents.mean()))
        True
    """
    if latents.ndim != 2 or not np.isfinite(latents).all():
        raise ValueError(f"latents {latents.shape} must be [n, d] and finite")
    if len(latents) < 2:
        raise ValueError(
            f"prior=mixture needs at least 2 latents to fit, not {len(latents)}: "
            "leave the argument out"
        )
    if not 1 <= num_components <= len(latents):
        raise ValueError(
            f"num_components={num_components} must be from 1 to the number of "
            f"latents, {len(latents)}"
        )
    fitted = GaussianMixture(
        num_components, max_iter=_MAX_ITERATIONS, random_state=seed
    ).fit(latents.astype(np.float64))
    return Mixture(fitted.weights_, fitted.means_, fitted.covariances_)


def load(path: pathlib.Path) -> Mixture:
    """Returns the mixture that `Mixture.save` wrote.

    Raises:
        ValueError: If the file does not hold a mixture.
        FileNotFoundError: If the file is missing.
    """
    names = [field.name for field in dataclasses.fields(Mixture)]
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Mixture(**{name: np.asarray(arrays[name], float) for name in names})
    except FileNotFoundError:
        raise
    except files.ARCHIVE_ERRORS as error:
        text = wording.cause(error)
        raise ValueError(f"{path} does not hold a mixture: {text}") from error
