"""Objectives that training minimises, and the likelihoods that they imply.

Every term is per example; likelihoods and divergences are in nats. The caller divides
by the global batch size. `elbo` is always at beta = 1, higher is better.
"""

import dataclasses
import math
from typing import Any, Protocol

import tensorflow as tf
from ml_collections import ConfigDict

from trainer.models.likelihoods import Gaussian, Likelihood, make_likelihood
from trainer.numerics import exact
from trainer.optimization import losses


@dataclasses.dataclass(frozen=True)
class Posterior:
    """q(z|x) of a batch, and the draws from it.

    Attributes:
        mean: `[batch, latent_dim]`.
        log_var: `[batch, latent_dim]`, natural log of the variance.
        z: `[batch * num_samples, latent_dim]`; the draws of an example are adjacent.
    """

    mean: tf.Tensor
    log_var: tf.Tensor
    z: tf.Tensor

    def summaries(self) -> dict[str, tf.Tensor]:
        """Returns mean and variance, averaged over the latents, `[batch]` each."""
        return {
            "latents/mean": tf.reduce_mean(self.mean, axis=1),
            "latents/variance": tf.reduce_mean(tf.exp(self.log_var), axis=1),
        }


class Objective(Protocol):
    """An objective. The caller draws `num_samples` latents z for each example."""

    num_samples: int

    def terms(
        self, images: tf.Tensor, outputs: tf.Tensor, posterior: Posterior, step: Any
    ) -> dict[str, tf.Tensor]:
        """Returns every reported quantity per example.

        Args:
            images: `[batch, height, width, channels]` in [-1, 1].
            outputs: `[batch * num_samples, height, width, outputs]` from the decoder.
            posterior: Posterior of the batch.
            step: Number of updates made; some weights depend on it.

        Returns:
            Terms by name, `[batch]` each: `loss`; `elbo`, `recon_nll` and
            `kl` in nats; and the latents' summaries.
        """
        ...

    def kl_weight(self, step: Any) -> Any:
        """Returns beta, the weight of the KL divergence relative to -log p(x|z).

        Args:
            step: Number of updates made.
        """
        ...

    def describe(self) -> str:
        """Returns one sentence with the loss and an equivalent form."""
        ...


@dataclasses.dataclass(frozen=True)
class MeanSquaredErrorObjective:
    """pixel_weight * mean squared error + latent_weight * KL, per example.

    Let SE be the squared error, summed over the D values of an image. Divided by
    pixel_weight, the objective is

        SE / D + w * KL,  with  w = latent_weight / pixel_weight.

    This equals 2 * variance / D times the negative ELBO of a Gaussian likelihood with
    variance = w * D / 2, up to a constant. `recon_nll` and `elbo` use this likelihood.

    Attributes:
        pixel_weight: Weight of the mean squared error, positive.
        latent_weight: Weight of the KL divergence, at least 0. With 0 the model is a
            plain autoencoder, and its ELBO is reported for unit variance.
        num_values: Number of values per image, D.

    Source:
        A. Royer, "Variational Auto-encoders" (2017), for the loss.
    """

    pixel_weight: float
    latent_weight: float
    num_values: int
    num_samples = 1

    def __post_init__(self) -> None:
        """Checks the weights."""
        if not self.pixel_weight > 0:
            raise ValueError(
                f"config.pixel_weight={self.pixel_weight} must be positive"
            )
        if not self.latent_weight >= 0:
            raise ValueError(
                f"config.latent_weight={self.latent_weight} must not be negative"
            )

    @property
    def variance(self) -> float:
        """Variance of the equivalent Gaussian likelihood."""
        if self.latent_weight == 0:
            return 1.0
        return self.kl_weight(step=None)

    def terms(
        self, images: tf.Tensor, outputs: tf.Tensor, posterior: Posterior, step: Any
    ) -> dict[str, tf.Tensor]:
        """Returns every reported quantity per example; see `Objective.terms`.

        `pixel_loss` and `latent_loss` include their weights.
        """
        del step
        squared = losses.squared_error(images, outputs)
        kl = losses.gaussian_kl(posterior.mean, posterior.log_var)
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
            **posterior.summaries(),
        }

    def kl_weight(self, step: Any) -> float:
        """Returns beta of the equivalent beta-VAE with unit variance."""
        del step
        return self.latent_weight / self.pixel_weight * self.num_values / 2

    def describe(self) -> str:
        """Returns one sentence with the loss and its equivalent likelihood.

        Example:
            >>> print(MeanSquaredErrorObjective(1.0, 0.005, 49152).describe())
            loss = 1 * mean squared error + 0.005 * KL over D = 49152 values: \
equivalent to a Gaussian likelihood with variance 122.9 (standard deviation 11.09 \
where pixels span [-1, 1]), or to a unit-variance beta-VAE with beta = 122.9
        """
        text = (
            f"loss = {self.pixel_weight:g} * mean squared error + "
            f"{self.latent_weight:g} * KL over D = {self.num_values} values: "
        )
        if self.latent_weight == 0:
            return text + "a plain autoencoder (its ELBO is given for unit variance)"
        return text + (
            f"equivalent to a Gaussian likelihood with variance {self.variance:.4g} "
            f"(standard deviation {math.sqrt(self.variance):.4g} where pixels span "
            f"[-1, 1]), or to a unit-variance beta-VAE with beta = {self.variance:.4g}"
        )


@dataclasses.dataclass(frozen=True)
class ElboObjective:
    """Minus the evidence lower bound, or a variant of it.

    Attributes:
        likelihood: Likelihood p(x|z).
        beta: Weight of the KL divergence; 1 for the evidence lower bound.
        warmup_steps: Number of steps over which the weight grows linearly from 0; 0 for
            no warm-up.
        free_bits: KL divergence in nats that each latent may have at no cost, on
            average over the batch.
        num_samples: Number of posterior draws per example. With more than one draw the
            loss is minus the importance-weighted bound; `beta` must be 1, and
            `warmup_steps` and `free_bits` 0.
        num_values: Number of values per image.

    Source:
        Kingma and Welling, "Auto-Encoding Variational Bayes" (the bound); Higgins et
        al., "beta-VAE"; Bowman et al., "Generating Sentences from a Continuous Space"
        (warm-up); Kingma et al., "Improved Variational Inference with Inverse
        Autoregressive Flow", equation 15 (free bits); Burda et al., "Importance
        Weighted Autoencoders".
    """

    likelihood: Likelihood
    beta: float
    warmup_steps: int
    free_bits: float
    num_samples: int
    num_values: int

    def __post_init__(self) -> None:
        """Checks the settings."""
        for name in ("beta", "warmup_steps", "free_bits"):
            if getattr(self, name) < 0:
                setting = "kl_warmup_steps" if name == "warmup_steps" else name
                raise ValueError(
                    f"config.{setting}={getattr(self, name)} must not be negative"
                )
        if self.num_samples < 1:
            raise ValueError(
                f"config.num_importance_samples={self.num_samples} must be at least 1"
            )
        if self.num_samples > 1 and (
            self.beta != 1 or self.warmup_steps or self.free_bits
        ):
            raise ValueError(
                f"config.num_importance_samples={self.num_samples} makes the "
                "importance-weighted bound, which has no separate KL term: it needs "
                "config.beta=1, config.kl_warmup_steps=0 and config.free_bits=0"
            )

    def terms(
        self, images: tf.Tensor, outputs: tf.Tensor, posterior: Posterior, step: Any
    ) -> dict[str, tf.Tensor]:
        """Returns every reported quantity per example; see `Objective.terms`."""
        k = self.num_samples
        repeated = images if k == 1 else tf.repeat(images, k, axis=0)
        log_likelihood = self.likelihood.log_likelihood(repeated, outputs)
        kl_per_latent = losses.gaussian_kl_per_latent(posterior.mean, posterior.log_var)
        kl = tf.reduce_sum(kl_per_latent, axis=1)
        recon_nll = -tf.reduce_mean(tf.reshape(log_likelihood, [-1, k]), axis=1)
        if k == 1:
            loss = recon_nll + self.kl_weight(step) * self._charged(kl_per_latent)
        else:
            # z has two uses here, and the decoder uses it a third time.
            z = exact.branch(posterior.z)
            log_weights = (
                log_likelihood
                + losses.normal_log_density(z, 0.0, 0.0)
                - losses.normal_log_density(
                    z,
                    tf.repeat(posterior.mean, k, axis=0),
                    tf.repeat(posterior.log_var, k, axis=0),
                )
            )
            by_example = tf.reshape(log_weights, [-1, k])
            loss = math.log(k) - tf.reduce_logsumexp(by_example, axis=1)
        return {
            "loss": loss,
            "elbo": -(recon_nll + kl),
            "recon_nll": recon_nll,
            "kl": kl,
            **posterior.summaries(),
        }

    def kl_weight(self, step: Any) -> tf.Tensor | float:
        """Returns beta, which grows during the warm-up."""
        if not self.warmup_steps:
            return self.beta
        return self.beta * tf.minimum(tf.cast(step, tf.float32) / self.warmup_steps, 1)

    def describe(self) -> str:
        """Returns one sentence with the loss and an equivalent form.

        Example:
            >>> likelihood = Gaussian(stddev=0.5)
            >>> print(ElboObjective(likelihood, 1.0, 0, 0.0, 1, 200).describe())
            loss = -log p(x|z) + 1 * KL, with a Gaussian likelihood of standard \
deviation 0.5 over D = 200 values: mean squared error + 0.0025 * KL, up to scale and a \
constant
        """
        if self.num_samples > 1:
            text = (
                f"loss = minus the importance-weighted bound with {self.num_samples} "
                "importance samples"
            )
        else:
            text = f"loss = -log p(x|z) + {self.beta:g} * KL"
        if self.warmup_steps:
            text += f" (the weight of KL grows from 0 over {self.warmup_steps} steps)"
        if self.free_bits:
            text += f" above {self.free_bits:g} free nats per latent"
        text += f", with {self.likelihood.describe()} over D = {self.num_values} values"
        if isinstance(self.likelihood, Gaussian) and self.num_samples == 1:
            weight = 2 * self.beta * self.likelihood.stddev**2 / self.num_values
            text += (
                f": mean squared error + {weight:.4g} * KL, up to scale and a constant"
            )
        return text

    def _charged(self, kl_per_latent: tf.Tensor) -> tf.Tensor:
        """Returns the KL divergence in the loss, `[batch]`, with free bits applied."""
        if not self.free_bits:
            return tf.reduce_sum(kl_per_latent, axis=1)
        wide = tf.cast(tf.stop_gradient(kl_per_latent), tf.float64)
        num_examples = tf.fill([1], tf.cast(tf.shape(wide)[0], tf.float64))
        sums = tf.concat([tf.reduce_sum(wide, axis=0), num_examples], axis=0)
        totals = exact.sum_over_replicas(sums)
        is_charged = totals[:-1] / totals[-1] > self.free_bits
        return tf.reduce_sum(
            tf.where(is_charged, kl_per_latent, self.free_bits), axis=1
        )


def make_objective(config: ConfigDict, num_values: int) -> Objective:
    """Returns the objective that `config` describes.

    Args:
        config: Settings.
        num_values: Number of values per image.

    Raises:
        ValueError: If a setting is out of range, or settings exclude each other.
    """
    if config.objective == "elbo":
        return ElboObjective(
            make_likelihood(config, num_values),
            config.beta,
            config.kl_warmup_steps,
            config.free_bits,
            config.num_importance_samples,
            num_values,
        )
    if (config.likelihood, config.likelihood_scale) != ("gaussian", "fixed"):
        raise ValueError(
            "config.objective=weighted_mse needs config.likelihood=gaussian and "
            f"config.likelihood_scale=fixed, not {config.likelihood!r} and "
            f"{config.likelihood_scale!r}: set config.objective=elbo"
        )
    return MeanSquaredErrorObjective(
        config.pixel_weight, config.latent_weight, num_values
    )
