"""Scores of image quality and of information, from arrays.

    n  examples        h, w, c  height, width, channels

Images lie in [-1, 1]. A level is the unit of 8-bit pixels, which run from 0 to 255. It
is 1 / 127.5 in the units of [-1, 1].
"""

import math

import numpy as np

LEVELS_PER_UNIT = 127.5
_PEAK_LEVELS = 255.0

SSIM_WINDOW_SIDE = 11
_WINDOW_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03


def mean_squared_error_levels(
    images: np.ndarray, reconstructions: np.ndarray
) -> np.ndarray:
    """Returns the mean squared error of each image in squared 8-bit levels.

    Args:
        images: `[n, h, w, c]` in [-1, 1]; nothing is clipped or rounded.
        reconstructions: The same shape.

    Returns:
        `[n]` float64: the mean over the image's values.

    Raises:
        ValueError: If the shapes are not rank 4 or differ.

    Example:
        >>> mean_squared_error_levels(np.ones([1, 2, 2, 3]), np.zeros([1, 2, 2, 3]))
        array([16256.25])
    """
    _check_pair(images, reconstructions)
    differences = np.subtract(images, reconstructions, dtype=np.float64)
    return np.mean(differences**2, axis=(1, 2, 3)) * LEVELS_PER_UNIT**2


def psnr_db(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Returns the peak signal-to-noise ratio of each image in decibels.

        PSNR = 10 * log10(255^2 / MSE),  MSE in squared levels

    Args:
        images: `[n, h, w, c]` in [-1, 1].
        reconstructions: The same shape.

    Returns:
        `[n]` float64; infinite where the two are equal.

    Raises:
        ValueError: If the shapes are not rank 4 or differ.

    Example:
        >>> psnr_db(np.ones([1, 2, 2, 3]), -np.ones([1, 2, 2, 3]))
        array([0.])
    """
    errors = mean_squared_error_levels(images, reconstructions)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(_PEAK_LEVELS**2 / errors)


def ssim(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Returns the structural similarity of each image with its reconstruction.

        SSIM = (2 m_x m_y + C1) (2 s_xy + C2)
               / ((m_x^2 + m_y^2 + C1) (s_x^2 + s_y^2 + C2)),  C = (K * 255)^2

    The means m and (co)variances s are taken under an 11 x 11 Gaussian window of sigma
    1.5 at every place where it fits, with K1 = 0.01 and K2 = 0.03. The result is the
    mean over places and channels. x and y are 0-255 levels, because the factor with the
    means depends on where zero lies.

    Args:
        images: `[n, h, w, c]` in [-1, 1].
        reconstructions: The same shape.

    Returns:
        `[n]` float64, at most 1; only equal images reach 1.

    Raises:
        ValueError: If the shapes are not rank 4 or differ, or a side is below 11.

    Source:
        Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error
        visibility to structural similarity" (2004), equation 13.

    Example:
        >>> ssim(np.zeros([1, 16, 16, 3]), np.zeros([1, 16, 16, 3]))
        array([1.])
    """
    _check_pair(images, reconstructions)
    height, width = images.shape[1:3]
    if min(height, width) < SSIM_WINDOW_SIDE:
        raise ValueError(
            f"images of {height} x {width} are smaller than the window of SSIM, "
            f"{SSIM_WINDOW_SIDE} x {SSIM_WINDOW_SIDE}"
        )
    down, across = _window_matrix(height), _window_matrix(width)

    def smooth(planes: np.ndarray) -> np.ndarray:
        return down @ planes @ across.T

    x, y = (_levels_by_channel(values) for values in (images, reconstructions))
    mean_x, mean_y = smooth(x), smooth(y)
    mean_product = mean_x * mean_y
    mean_squares = mean_x**2 + mean_y**2
    covariance = smooth(x * y) - mean_product
    variances = smooth(x**2 + y**2) - mean_squares
    c1, c2 = (_K1 * _PEAK_LEVELS) ** 2, (_K2 * _PEAK_LEVELS) ** 2
    similarity = (2 * mean_product + c1) / (mean_squares + c1)
    similarity *= (2 * covariance + c2) / (variances + c2)
    return similarity.mean(axis=(1, 2, 3))


def bits_per_dim(
    nll_nats: np.ndarray, num_values: int, *, is_discrete: bool
) -> np.ndarray:
    """Returns negative log-likelihoods in bits per value of an 8-bit image.

    A discrete likelihood gives the probability of each of a value's 256 levels:

        bits = nll / (D ln 2)

    A density over [-1, 1] is first rescaled to a density over 0-255 levels. The
    Jacobian of the scaling adds D ln 127.5 to the NLL, and the unit becomes one level:

        bits = (nll + D ln 127.5) / (D ln 2)

    On images with uniform noise of one level's width (dequantised), this value bounds
    the discrete value from above. Without the noise it has no lower bound, and may be
    compared only with densities at the same image values.

    Args:
        nll_nats: Negative log-likelihood of a whole image in nats, or minus the ELBO,
            which bounds it; any shape.
        num_values: D, values per image: height * width * channels.
        is_discrete: Whether the likelihood is a probability of levels rather than a
            density over [-1, 1].

    Returns:
        The same shape, float64.

    Raises:
        ValueError: If `num_values` is not positive.

    Source:
        Theis, van den Oord and Bethge, "A note on the evaluation of generative models"
        (2016), section 3.1.

    Example:
        The uniform distribution, as a probability of levels:

        >>> float(bits_per_dim(np.float64(12 * np.log(256)), 12, is_discrete=True))
        8.0
    """
    if num_values <= 0:
        raise ValueError(f"num_values={num_values} must be positive")
    jacobian = 0.0 if is_discrete else math.log(LEVELS_PER_UNIT)
    nats = np.asarray(nll_nats, np.float64) / num_values + jacobian
    return nats / math.log(2)


def log_mean_exp(log_weights: np.ndarray, axis: int) -> np.ndarray:
    """Returns log(mean(exp(log_weights))) along an axis without overflow.

    Args:
        log_weights: Any shape, in nats; -inf is a weight of zero.
        axis: Axis to average over, such as the draws of an importance-weighted bound.

    Returns:
        The shape without that axis, float64.

    Raises:
        ValueError: If the axis is empty.

    Source:
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders" (2016),
        equation 8, for its use.

    Example:
        >>> log_mean_exp(np.array([1000.0, 1000.0]), axis=0)
        np.float64(1000.0)
    """
    log_weights = np.asarray(log_weights, np.float64)
    if log_weights.shape[axis] == 0:
        raise ValueError(f"axis {axis} of {log_weights.shape} is empty")
    peak = np.max(log_weights, axis=axis, keepdims=True)
    # Shifting by an infinite peak would compute inf - inf for the terms at the peak.
    shift = np.where(np.isfinite(peak), peak, 0.0)
    with np.errstate(divide="ignore", over="ignore"):
        logs = np.log(np.mean(np.exp(log_weights - shift), axis=axis))
    return logs + np.squeeze(shift, axis=axis)


def _check_pair(images: np.ndarray, reconstructions: np.ndarray) -> None:
    if images.ndim != 4 or images.shape != reconstructions.shape:
        raise ValueError(
            f"images {images.shape} and reconstructions {reconstructions.shape} must "
            "both be [n, h, w, c]"
        )


def _levels_by_channel(images: np.ndarray) -> np.ndarray:
    """Returns `[n, c, h, w]` float64 in 0-255 levels."""
    return (images.transpose(0, 3, 1, 2).astype(np.float64) + 1) * LEVELS_PER_UNIT


def _window_matrix(size: int) -> np.ndarray:
    """Returns `[size - 10, size]`: row i is the Gaussian window that starts at i."""
    offsets = np.arange(SSIM_WINDOW_SIDE) - (SSIM_WINDOW_SIDE - 1) / 2
    window = np.exp(-(offsets**2) / (2 * _WINDOW_SIGMA**2))
    num_places = size - SSIM_WINDOW_SIDE + 1
    matrix = np.zeros([num_places, size])
    for place in range(num_places):
        matrix[place, place : place + SSIM_WINDOW_SIDE] = window / window.sum()
    return matrix
