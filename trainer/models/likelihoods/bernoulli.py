"""Values that are black or white."""

import dataclasses

import keras
import tensorflow as tf

from trainer.models.likelihoods.base import Likelihood, check_shapes, sum_values


@dataclasses.dataclass(frozen=True)
class Bernoulli(Likelihood):
    """Each value is 1 with a probability whose logit the decoder gives, else -1.

    A value v in between counts as (v + 1) / 2 of a one: the summed binary
    cross-entropy, which is no likelihood of grey images, but what is published.
    """

    def num_outputs(self, channels: int) -> int:
        """Returns one logit a value."""
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
        """Names it."""
        return "a Bernoulli likelihood (summed binary cross-entropy)"


def _cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns -labels log p - (1 - labels) log(1 - p), with p = sigmoid(logits).

    TensorFlow's function uses the logits four times, so that their gradient is a sum
    of four (see `trainer.numerics.exact`). In closed form it is p - labels.

    Args:
        labels: In [0, 1]; no gradient flows into them.
        logits: Of the shape of `labels`.
    """
    labels = tf.stop_gradient(labels)

    @tf.custom_gradient
    def cross_entropy(logits: tf.Tensor):
        value = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
        return value, lambda upstream: upstream * (tf.sigmoid(logits) - labels)

    return cross_entropy(logits)
