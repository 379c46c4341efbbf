"""The terms of the objective, per example, and what the objective amounts to."""

import dataclasses
import math

import tensorflow as tf


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
    return 0.5 * tf.reduce_sum(mean**2 + tf.exp(log_var) - log_var - 1, axis=1)


def squared_error(images: tf.Tensor, reconstructions: tf.Tensor) -> tf.Tensor:
    """Returns the sum of squared differences per example, `[batch]`.

    Args:
        images: `[batch, height, width, channels]` float.
        reconstructions: The same shape.

    Raises:
        ValueError: If the shapes do not match.

    Example:
        >>> squared_error(tf.ones([1, 2, 2, 3]), tf.zeros([1, 2, 2, 3])).numpy()
        array([12.], dtype=float32)
    """
    if not images.shape.is_compatible_with(reconstructions.shape):
        raise ValueError(
            f"images {images.shape} and reconstructions {reconstructions.shape} differ"
        )
    return tf.reduce_sum((images - reconstructions) ** 2, axis=[1, 2, 3])


@dataclasses.dataclass(frozen=True)
class MeanSquaredErrorObjective:
    """pixel_weight * mean squared error + latent_weight * KL, per example.

    Divided by pixel_weight this is, over the D values of an image,

        SE / D + w * KL,  with  w = latent_weight / pixel_weight,

    which is 2 * variance / D times the negative ELBO of a Gaussian likelihood with
    variance = w * D / 2, up to a constant. That likelihood is the one by which
    `recon_nll` and `elbo` are reported.

    Attributes:
        pixel_weight: Positive.
        latent_weight: Not negative; 0 leaves a plain autoencoder, whose ELBO is
            reported for unit variance.
        num_values: D, values per image.

    Source:
        A. Royer, "Variational Auto-encoders" (2017), for the loss.
    """

    pixel_weight: float
    latent_weight: float
    num_values: int

    def __post_init__(self) -> None:
        """Checks the weights."""
        if not self.pixel_weight > 0:
            raise ValueError(
                f"--config.pixel_weight={self.pixel_weight} must be positive"
            )
        if not self.latent_weight >= 0:
            raise ValueError(
                f"--config.latent_weight={self.latent_weight} must not be negative"
            )

    @property
    def variance(self) -> float:
        """Of the Gaussian likelihood that the weights amount to."""
        if self.latent_weight == 0:
            return 1.0
        return self.latent_weight / self.pixel_weight * self.num_values / 2

    def terms(
        self,
        images: tf.Tensor,
        reconstructions: tf.Tensor,
        posterior_mean: tf.Tensor,
        posterior_log_var: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Returns every reported quantity per example.

        Args:
            images: `[batch, height, width, channels]` in [-1, 1].
            reconstructions: The same shape.
            posterior_mean: `[batch, latent_dim]`.
            posterior_log_var: `[batch, latent_dim]`.

        Returns:
            By TensorBoard name, `[batch]` each: `loss`, `pixel_loss` and
            `latent_loss` as weighted; `elbo`, `recon_nll` and `kl` in nats; the mean
            over latents of the posterior's mean and variance.
        """
        squared = squared_error(images, reconstructions)
        kl = gaussian_kl(posterior_mean, posterior_log_var)
        pixel_loss = self.pixel_weight / self.num_values * squared
        latent_loss = self.latent_weight * kl
        log_normaliser = self.num_values / 2 * math.log(2 * math.pi * self.variance)
        recon_nll = squared / (2 * self.variance) + log_normaliser
        return {
            "loss": pixel_loss + latent_loss,
            "elbo": -(recon_nll + kl),
            "recon_nll": recon_nll,
            "kl": kl,
            "pixel_loss": pixel_loss,
            "latent_loss": latent_loss,
            "latents/mean": tf.reduce_mean(posterior_mean, axis=1),
            "latents/variance": tf.reduce_mean(tf.exp(posterior_log_var), axis=1),
        }

    def describe(self) -> str:
        """Returns one sentence: the loss, and the likelihood it is equivalent to.

        Example:
            >>> print(MeanSquaredErrorObjective(1.0, 0.005, 49152).describe())
            loss = 1 * mean squared error + 0.005 * KL over D = 49152 values: \
a Gaussian likelihood with variance 122.9 (standard deviation 11.09 where pixels \
span [-1, 1]), or a unit-variance beta-VAE with beta = 122.9
        """
        text = (
            f"loss = {self.pixel_weight:g} * mean squared error + "
            f"{self.latent_weight:g} * KL over D = {self.num_values} values: "
        )
        if self.latent_weight == 0:
            return text + "a plain autoencoder (its ELBO is given for unit variance)"
        return text + (
            f"a Gaussian likelihood with variance {self.variance:.4g} (standard "
            f"deviation {math.sqrt(self.variance):.4g} where pixels span [-1, 1]), or "
            f"a unit-variance beta-VAE with beta = {self.variance:.4g}"
        )
