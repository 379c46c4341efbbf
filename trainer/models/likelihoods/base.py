"""What every likelihood is, and what they share."""

import abc

import keras
import tensorflow as tf


class Likelihood(abc.ABC):
    """A distribution of images, given the decoder's outputs."""

    @abc.abstractmethod
    def num_outputs(self, channels: int) -> int:
        """Returns how many outputs a pixel has, for images of `channels`."""

    @abc.abstractmethod
    def log_likelihood(self, images: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns log p(x|z) in nats per example, `[batch]`.

        Args:
            images: `[batch, height, width, channels]` in [-1, 1].
            outputs: Of the decoder.
        """

    @abc.abstractmethod
    def mean(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the mean image, `[batch, height, width, channels]` in [-1, 1].

        Made of Keras's operations, so that it can be a part of a Keras model.
        """

    @abc.abstractmethod
    def draw(self, outputs: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns an image drawn from p(x|z), `[batch, height, width, channels]`.

        Args:
            outputs: Of the decoder.
            seed: `[2]` integers, a stateless seed.
        """

    @abc.abstractmethod
    def describe(self) -> str:
        """Returns what the likelihood is, for a sentence."""

    def fit(
        self,
        images: tf.Tensor,
        outputs: tf.Tensor,
        decoder: keras.Model,
    ) -> tf.Tensor:
        """In a training step, sets what follows from the batch; returns the outputs."""
        del images, decoder
        return outputs


def check_shapes(images: tf.Tensor, outputs: tf.Tensor) -> None:
    """Checks that a decoder's outputs are as many as the images' values."""
    if not images.shape.is_compatible_with(outputs.shape):
        raise ValueError(f"images {images.shape} and outputs {outputs.shape} differ")


def sum_values(values: tf.Tensor) -> tf.Tensor:
    """Returns the sum over all but the first axis."""
    return tf.reduce_sum(values, axis=list(range(1, values.shape.rank)))
