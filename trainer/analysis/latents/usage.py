"""Number of latents that a model uses, and their distance from the prior.

n  examples        d  latents
"""

import numpy as np

from trainer.analysis import image_metrics

# Number of (draw, posterior) pairs in memory at once: 64 MB of float64.
_PAIRS_PER_CHUNK = 8_000_000

_ACTIVE_VARIANCE = 0.01


def active_units(
    posterior_means: np.ndarray, threshold: float = _ACTIVE_VARIANCE
) -> int:
    """Returns the number of latents that carry information about the examples.

    A latent is active if the variance over examples of its posterior mean is above the
    threshold.

    Args:
        posterior_means: `[n, d]`.
        threshold: Variance in squared latent units; the prior has variance 1.

    Raises:
        ValueError: If the means are not `[n, d]` with at least two examples.

    Source:
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders" (2016),
        section 5.2.

    Example:
        >>> active_units(np.array([[0.0, 3.0], [0.01, -3.0]]))
        1
    """
    if posterior_means.ndim != 2 or len(posterior_means) < 2:
        raise ValueError(
            f"posterior_means {posterior_means.shape} must be [n, d] with n >= 2"
        )
    variances = np.var(posterior_means, axis=0, dtype=np.float64)
    return num_active(variances, threshold)


def num_active(variances: np.ndarray, threshold: float = _ACTIVE_VARIANCE) -> int:
    """Returns the number of variances above the threshold; see `active_units`.

    Args:
        variances: `[d]`, variance over examples of the posterior mean.
        threshold: Variance above which a latent is active.
    """
    return int(np.count_nonzero(variances > threshold))


def aggregate_kl(
    posterior_means: np.ndarray,
    posterior_log_vars: np.ndarray,
    num_draws: int = 10_000,
    seed: int = 0,
) -> float:
    """Returns KL(q(z) || N(0, I)), in nats, of the aggregate posterior.

        q(z) = 1/n sum_i N(z; mean_i, diag(exp(log_var_i)))

    This KL measures how far the latents that the decoder sees in training are from the
    latents that it gets for samples. The estimate averages log q(z) - log N(z; 0, I)
    over draws z from q(z). It computes q(z) from all n posteriors, so it has no
    minibatch bias. The exact KL is at most the mean KL of the posteriors, and at least
    that mean minus ln n.

    Args:
        posterior_means: `[n, d]`.
        posterior_log_vars: `[n, d]`, natural log of the variance.
        num_draws: Number of draws of z. The error falls as 1 / sqrt(num_draws).
        seed: Seed of the draws.

    Raises:
        ValueError: If the shapes are not rank 2, differ or have no example, or
            `num_draws` is below 1.

    Source:
        Hoffman and Johnson, "ELBO surgery" (2016), for the term.

    Example:
        >>> aggregate_kl(np.zeros([3, 2]), np.zeros([3, 2]))
        0.0
    """
    if (
        posterior_means.ndim != 2
        or posterior_means.shape != posterior_log_vars.shape
        or not len(posterior_means)
    ):
        raise ValueError(
            f"posterior_means {posterior_means.shape} and posterior_log_vars "
            f"{posterior_log_vars.shape} must both be [n, d] with n >= 1"
        )
    if num_draws < 1:
        raise ValueError(f"num_draws={num_draws} must be positive")
    means = posterior_means.astype(np.float64)
    log_vars = posterior_log_vars.astype(np.float64)
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(means), size=num_draws)
    noise = rng.standard_normal((num_draws, means.shape[1]))
    draws = means[chosen] + np.exp(0.5 * log_vars[chosen]) * noise
    return float(np.mean(_log_aggregate_over_prior(draws, means, log_vars)))


def _log_aggregate_over_prior(
    draws: np.ndarray, means: np.ndarray, log_vars: np.ndarray
) -> np.ndarray:
    """Returns log q(z) - log N(z; 0, I) of each draw, `[num_draws]`."""
    # The energy of a pair is -2 log N(z; m, v), without the 2 pi that the prior has
    # too: (z^2, z) . (1/v, -2m/v) + sum(m^2/v + log v). One matrix product gives the
    # energies of all pairs.
    precisions = np.exp(-log_vars)
    coefficients = np.concatenate([precisions, -2 * means * precisions], axis=1)
    constants = np.sum(means**2 * precisions + log_vars, axis=1)
    ratios = []
    chunk = max(1, _PAIRS_PER_CHUNK // len(means))
    for z in (draws[i : i + chunk] for i in range(0, len(draws), chunk)):
        energies = np.concatenate([z**2, z], axis=1) @ coefficients.T + constants
        log_q = image_metrics.log_mean_exp(-0.5 * energies, axis=1)
        ratios.append(log_q + 0.5 * np.sum(z**2, axis=1))
    return np.concatenate(ratios)
