"""Terms of an objective per example, as pure functions."""

import math

import tensorflow as tf

from trainer.numerics import exact


def gaussian_kl(mean: tf.Tensor, log_var: tf.Tensor) -> tf.Tensor:
    """Returns KL(q(z|x) || p(z)) for a diagonal Gaussian posterior.

    The posterior is N(mean, diag(exp(log_var))) and the prior N(0, I):

        KL = 1/2 * sum_d (mean_d^2 + exp(log_var_d) - log_var_d - 1)

    The sum runs over latent dimensions and never over the batch: the caller
    divides by the global batch size, which a replica does not see.

    Args:
        mean: `[batch, latent_dim]` float, posterior mean.
        log_var: `[batch, latent_dim]` float, natural log of the variance.

    Returns:
        `[batch]`: KL in nats per example.

    Raises:
        ValueError: If the static shapes are not rank 2 or do not match.

    Source:
        Kingma and Welling, "Auto-Encoding Variational Bayes", appendix B.

    Example:
        >>> gaussian_kl(tf.ones([2, 10]), tf.zeros([2, 10])).numpy().tolist()
        [5.0, 5.0]
    """
    if mean.shape.rank != 2 or not mean.shape.is_compatible_with(log_var.shape):
        raise ValueError(
            f"mean {mean.shape} and log_var {log_var.shape} must both be "
            "[batch, latent_dim]"
        )
    return tf.reduce_sum(gaussian_kl_per_latent(mean, log_var), axis=1)


def gaussian_kl_per_latent(mean: tf.Tensor, log_var: tf.Tensor) -> tf.Tensor:
    """Returns the KL divergence of each latent, `[batch, latent_dim]`, in nats."""
    # log_var has two uses here, and a third where the latents are drawn.
    log_var = exact.branch(log_var)
    return 0.5 * (tf.square(mean) + tf.exp(log_var) - log_var - 1)


def normal_log_density(
    z: tf.Tensor, mean: tf.Tensor | float, log_var: tf.Tensor | float
) -> tf.Tensor:
    """Returns log N(z; mean, diag(exp(log_var))) in nats, `[batch]`.

    Args:
        z: `[batch, latent_dim]` float, points.
        mean: `[batch, latent_dim]` or a number, mean of the distribution.
        log_var: `[batch, latent_dim]` or a number, natural log of the variance.

    Example:
        >>> round(float(normal_log_density(tf.zeros([1, 2]), 0.0, 0.0)[0]), 4)
        -1.8379
    """
    log_var = tf.convert_to_tensor(log_var, z.dtype)
    squared = tf.square(z - mean) * tf.exp(-log_var)
    density = squared + log_var + math.log(2 * math.pi)
    return -0.5 * tf.reduce_sum(tf.broadcast_to(density, tf.shape(z)), axis=1)


def squared_error(images: tf.Tensor, reconstructions: tf.Tensor) -> tf.Tensor:
    """Returns the sum of squared differences per example, `[batch]`.

    Args:
        images: `[batch, height, width, channels]` float.
        reconstructions: `[batch, height, width, channels]` float.

    Raises:
        ValueError: If the shapes do not match.

    Example:
        >>> squared_error(tf.ones([1, 2, 2, 3]), tf.zeros([1, 2, 2, 3])).numpy()
        array([12.], dtype=float32)
    """
    if not images.shape.is_compatible_with(reconstructions.shape):
        raise ValueError(
            f"images {images.shape} and reconstructions {reconstructions.shape} "
            "differ in shape"
        )
    return tf.reduce_sum(tf.square(images - reconstructions), axis=[1, 2, 3])
