"""The VAE: an encoder, a decoder, and the draw between them."""

import dataclasses

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from trainer.models import conv


@dataclasses.dataclass(frozen=True)
class VAE:
    """A variational autoencoder.

    Attributes:
        encoder: `[b, size, size, c] -> (posterior mean, posterior log variance)`.
        decoder: `[b, latent_dim] -> [b, size, size, c]`.
    """

    encoder: keras.Model
    decoder: keras.Model

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """Weights that the optimizer moves."""
        return self.encoder.trainable_variables + self.decoder.trainable_variables

    @property
    def variables(self) -> list[keras.Variable]:
        """All weights, the batch-norm statistics among them."""
        return self.encoder.variables + self.decoder.variables

    @property
    def batch_norm_statistics(self) -> list[keras.Variable]:
        """Moving means and variances, which a training pass assigns."""
        return (
            self.encoder.non_trainable_variables + self.decoder.non_trainable_variables
        )

    def named_variables(self) -> dict[str, keras.Variable]:
        """Returns all weights by a name that is the same in every process."""
        return {
            f"{part.name}/{variable.path}": variable
            for part in (self.encoder, self.decoder)
            for variable in part.variables
        }


def make_vae(config: ConfigDict, image_shape: tuple[int, ...]) -> VAE:
    """Returns the VAE that `config` describes, for images of `image_shape`.

    Raises:
        ValueError: If the filters do not fit the image size.
    """
    encoder = conv.make_encoder(
        image_shape,
        config.latent_dim,
        config.encoder_filters,
        config.downsample,
        config.batch_norm_momentum,
    )
    decoder = conv.make_decoder(
        image_shape,
        config.latent_dim,
        config.decoder_filters,
        config.batch_norm_momentum,
    )
    return VAE(encoder, decoder)


def draw_posterior(
    posterior_mean: tf.Tensor, posterior_log_var: tf.Tensor, noise: tf.Tensor
) -> tf.Tensor:
    """Returns z = mean + exp(log_var / 2) * noise, `[batch, latent_dim]`.

    Source:
        Kingma and Welling, "Auto-Encoding Variational Bayes", section 2.4.

    Example:
        >>> draw_posterior(tf.ones([1, 2]), tf.zeros([1, 2]), -tf.ones([1, 2])).numpy()
        array([[0., 0.]], dtype=float32)
    """
    return posterior_mean + tf.exp(posterior_log_var / 2) * noise
