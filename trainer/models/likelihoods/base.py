"""Interface of a likelihood, and helpers that likelihoods share."""

import abc

import keras
import tensorflow as tf


class Likelihood(abc.ABC):
    """A distribution of images, given the decoder's outputs."""

    @abc.abstractmethod
    def num_outputs(self, channels: int) -> int:
        """Returns the number of outputs per pixel, for images with `channels`."""

    @abc.abstractmethod
    def log_likelihood(self, images: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns log p(x|z) in nats per example, `[batch]`.

        Args:
            images: `[batch, height, width, channels]` in [-1, 1].
            outputs: `[batch, height, width, num_outputs]` from the decoder.
        """

    @abc.abstractmethod
    def mean(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the mean image, `[batch, height, width, channels]` in [-1, 1].

        Implementations use Keras operations: the mean may be part of a Keras model.
        """

    @abc.abstractmethod
    def draw(self, outputs: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns images drawn from p(x|z), `[batch, height, width, channels]`.

        Args:
            outputs: `[batch, height, width, num_outputs]` from the decoder.
            seed: `[2]` integers, a stateless seed.
        """

    @abc.abstractmethod
    def describe(self) -> str:
        """Returns a noun phrase that names the likelihood in a sentence."""

    def fit(
        self,
        images: tf.Tensor,
        outputs: tf.Tensor,
        decoder: keras.Model,
    ) -> tf.Tensor:
        """Fits batch-dependent parameters in a training step; returns the outputs."""
        del images, decoder
        return outputs


def check_shapes(images: tf.Tensor, outputs: tf.Tensor) -> None:
    """Checks that the images and the decoder's outputs have compatible shapes."""
    if not images.shape.is_compatible_with(outputs.shape):
        raise ValueError(
            f"images {images.shape} and outputs {outputs.shape} differ in shape"
        )


def sum_values(values: tf.Tensor) -> tf.Tensor:
    """Returns the sum over all but the first axis."""
    return tf.reduce_sum(values, axis=list(range(1, values.shape.rank)))
