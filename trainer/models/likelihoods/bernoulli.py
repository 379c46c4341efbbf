"""Values that are black or white."""

import dataclasses

import keras
import tensorflow as tf

from trainer.models.likelihoods.base import Likelihood, check_shapes, sum_values


@dataclasses.dataclass(frozen=True)
class Bernoulli(Likelihood):
    """Binary values, 1 or -1; the decoder gives the logit of P(value = 1).

    A value v between -1 and 1 counts as (v + 1) / 2 of a one. Publications report the
    resulting sum of binary cross-entropies for grey images, although it is not a
    likelihood of grey values.
    """

    def num_outputs(self, channels: int) -> int:
        """Returns the number of outputs per pixel: one logit per value."""
        return channels

    def log_likelihood(self, images: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns minus the binary cross-entropy, summed over values.

        Example:
            >>> image = tf.constant([1.0, -1.0], shape=[1, 1, 2, 1])
            >>> Bernoulli().log_likelihood(image, tf.zeros([1, 1, 2, 1])).numpy()
            array([-1.3862944], dtype=float32)
        """
        check_shapes(images, outputs)
        return -sum_values(_cross_entropy((images + 1) / 2, outputs))

    def mean(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns 2 p - 1."""
        return 2 * keras.ops.sigmoid(outputs) - 1

    def draw(self, outputs: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns -1 or 1 for every value."""
        uniform = tf.random.stateless_uniform(tf.shape(outputs), seed, alg="philox")
        return tf.where(uniform < tf.sigmoid(outputs), 1.0, -1.0)

    def describe(self) -> str:
        """Returns the likelihood's name as a noun phrase."""
        return "a Bernoulli likelihood (summed binary cross-entropy)"


def _cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns -labels log p - (1 - labels) log(1 - p), with p = sigmoid(logits).

    The gradient has the closed form p - labels. TensorFlow's function uses the logits
    four times, and a sum of four gradients has no fixed order (see
    `trainer.numerics.exact`).

    Args:
        labels: Values in [0, 1]; no gradient flows into them.
        logits: Logits, in the shape of `labels`.
    """
    labels = tf.stop_gradient(labels)

    @tf.custom_gradient
    def cross_entropy(logits: tf.Tensor):
        value = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
        return value, lambda upstream: upstream * (tf.sigmoid(logits) - labels)

    return cross_entropy(logits)
