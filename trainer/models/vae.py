"""The VAE: an encoder, a decoder, and the draw between them."""

import dataclasses
import functools
import math
import random
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from trainer.models import layers, likelihoods, networks
from trainer.models.likelihoods import Likelihood
from trainer.numerics import precision


@dataclasses.dataclass(frozen=True)
class VAE:
    """A variational autoencoder.

    Its parts compute in the configured precision; its methods return float32.

    Attributes:
        encoder: `[b, size, size, c] -> (posterior mean, posterior log variance)`.
        decoder: `[b, latent_dim] -> [b, size, size, outputs]`.
        likelihood: Distribution of an image, given the decoder's outputs.
        num_conditions: Length of the condition vectors that encoder and decoder also
            read; 0 for an unconditional VAE.
        classifier: `[b, size, size, c] -> [b, num_classes]` logits, in a run that
            learns the class from few labels.
    """

    encoder: keras.Model
    decoder: keras.Model
    likelihood: Likelihood
    num_conditions: int = 0
    classifier: keras.Model | None = None

    def encode(
        self, images: tf.Tensor, conditions: tf.Tensor, *, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns mean and log variance of q(z|x), `[b, latent_dim]` each.

        Args:
            images: `[b, size, size, c]`.
            conditions: `[b, num_conditions]`.
            training: Whether batch norm uses the batch's statistics.
        """
        mean, log_var = self.encoder(
            self._joined(images, conditions), training=training
        )
        return tf.cast(mean, tf.float32), tf.cast(log_var, tf.float32)

    @functools.cached_property
    def compiled_encode(self) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        """`encode` as a graph, for any number of images and their conditions."""
        return tf.function(
            self.encode,
            input_signature=[
                tf.TensorSpec(self.encoder.inputs[0].shape),
                tf.TensorSpec([None, self.num_conditions]),
            ],
            autograph=False,
        )

    def decode(
        self, z: tf.Tensor, conditions: tf.Tensor, *, training: bool = False
    ) -> tf.Tensor:
        """Returns the decoder's outputs for the likelihood, `[b, size, size, outputs]`.

        Args:
            z: `[b, latent_dim]`.
            conditions: `[b, num_conditions]`.
            training: Whether batch norm uses the batch's statistics.
        """
        outputs = self.decoder(self._joined(z, conditions), training=training)
        return tf.cast(outputs, tf.float32)

    def classify(self, images: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        """Returns the logits of q(y|x), `[b, num_classes]`; needs a classifier."""
        assert self.classifier is not None
        return tf.cast(self.classifier(images, training=training), tf.float32)

    def mean_image(self, z: tf.Tensor, conditions: tf.Tensor) -> tf.Tensor:
        """Returns the mean of p(x|z), `[b, size, size, c]` in [-1, 1]."""
        return self.likelihood.mean(self.decode(z, conditions))

    def _joined(self, x: tf.Tensor, conditions: tf.Tensor) -> Any:
        # Keras does not mix tensors and arrays.
        x = tf.convert_to_tensor(x)
        return (x, tf.convert_to_tensor(conditions)) if self.num_conditions else x

    @property
    def latent_dim(self) -> int:
        """Number of latents."""
        return self.encoder.outputs[0].shape[1]

    @property
    def _parts(self) -> list[keras.Model]:
        parts = [self.encoder, self.decoder, self.classifier]
        return [part for part in parts if part is not None]

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """Weights that the optimizer moves."""
        return [var for part in self._parts for var in part.trainable_variables]

    @property
    def variables(self) -> list[keras.Variable]:
        """All weights, including the batch-norm statistics."""
        return [variable for part in self._parts for variable in part.variables]

    @property
    def batch_norm_statistics(self) -> list[keras.Variable]:
        """Non-trainable weights, which a training pass assigns.

        They are moving means and variances, and the log scale of an optimal Gaussian.
        """
        return [var for part in self._parts for var in part.non_trainable_variables]

    def named_variables(self) -> dict[str, keras.Variable]:
        """Returns all weights by name; the names are the same in every process."""
        return {
            f"{part.name}/{variable.path}": variable
            for part in self._parts
            for variable in part.variables
        }


def make_vae(
    config: ConfigDict, image_shape: tuple[int, ...], num_conditions: int = 0
) -> VAE:
    """Returns the VAE that `config` describes, for images of `image_shape`.

    Args:
        config: Settings.
        image_shape: `[size, size, channels]`.
        num_conditions: Length of the conditions; 0 for an unconditional VAE.

    Raises:
        ValueError: If the filters do not fit the image size, or a setting is unknown.
    """
    likelihood = likelihoods.make_likelihood(config, math.prod(image_shape))
    classifier, seeds = None, random.Random(config.seed)
    with precision.of_layers(config.precision):
        encoder = networks.make_encoder(config, image_shape, num_conditions, seeds)
        decoder = _make_decoder(config, image_shape, num_conditions, likelihood, seeds)
        if config.labelled_fraction < 1:
            classifier = networks.make_classifier(config, image_shape, seeds)
    return VAE(encoder, decoder, likelihood, num_conditions, classifier)


def _make_decoder(
    config: ConfigDict,
    image_shape: tuple[int, ...],
    num_conditions: int,
    likelihood: Likelihood,
    seeds: random.Random,
) -> keras.Model:
    channels = image_shape[2]
    if not isinstance(likelihood, likelihoods.ScaledGaussian):
        num_outputs = likelihood.num_outputs(channels)
        return networks.make_decoder(
            config, image_shape, num_outputs, num_conditions, seeds
        )
    means = networks.make_decoder(config, image_shape, channels, num_conditions, seeds)
    outputs = layers.AppendLogScale(
        math.log(config.likelihood_stddev),
        is_trained=not likelihood.is_optimal,
        name=likelihoods.LOG_SCALE_LAYER,
    )(means.output)
    return keras.Model(means.input, outputs, name="decoder")


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
