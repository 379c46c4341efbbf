"""Values with normal noise, whose deviation is a setting or is learnt."""

import dataclasses
import math

import keras
import tensorflow as tf

from trainer.models.likelihoods.base import Likelihood, check_shapes, sum_values
from trainer.numerics import exact

LOG_SCALE_LAYER = "log_scale"

# Fraction of its value that the moving log scale of an optimal Gaussian keeps per step.
_SCALE_MOMENTUM = 0.99


@dataclasses.dataclass(frozen=True)
class Gaussian(Likelihood):
    """Normal values around the decoder's outputs, with a fixed deviation.

    Attributes:
        stddev: Standard deviation on the scale of values in [-1, 1]; positive.
    """

    stddev: float

    def __post_init__(self) -> None:
        """Checks the deviation."""
        if not self.stddev > 0:
            raise ValueError(f"config.likelihood_stddev={self.stddev} must be positive")

    def num_outputs(self, channels: int) -> int:
        """Returns the number of outputs per pixel: one mean per value."""
        return channels

    def log_likelihood(self, images: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the normal log density, summed over values."""
        check_shapes(images, outputs)
        return _normal_log_density(images, outputs, tf.math.log(self.stddev))

    def mean(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the outputs."""
        return outputs

    def draw(self, outputs: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns the outputs with noise added."""
        noise = tf.random.stateless_normal(tf.shape(outputs), seed, alg="philox")
        return outputs + self.stddev * noise

    def describe(self) -> str:
        """Returns the likelihood's name as a noun phrase."""
        return f"a Gaussian likelihood of standard deviation {self.stddev:.4g}"


@dataclasses.dataclass(frozen=True)
class ScaledGaussian(Likelihood):
    """Gaussian with one deviation for all values; training finds the deviation.

    The layer `AppendLogScale` holds the log deviation and appends it to the means.

    Attributes:
        is_optimal: Whether each training batch uses its optimal deviation in closed
            form, the root mean squared error. Outside training, all batches use the
            moving log deviation. If False, the log deviation is a trained weight.
    """

    is_optimal: bool

    def num_outputs(self, channels: int) -> int:
        """Returns the number of outputs per pixel: mean and log deviation per value."""
        return 2 * channels

    def log_likelihood(self, images: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the normal log density, summed over values."""
        mean, log_stddev = tf.split(outputs, 2, axis=-1)
        check_shapes(images, mean)
        return _normal_log_density(images, mean, log_stddev)

    def mean(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the first half of the outputs."""
        return tf.split(outputs, 2, axis=-1)[0]

    def draw(self, outputs: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns the mean with noise added."""
        mean, log_stddev = tf.split(outputs, 2, axis=-1)
        noise = tf.random.stateless_normal(tf.shape(mean), seed, alg="philox")
        return mean + tf.exp(log_stddev) * noise

    def fit(
        self,
        images: tf.Tensor,
        outputs: tf.Tensor,
        decoder: keras.Model,
    ) -> tf.Tensor:
        """Puts the global batch's optimal log deviation in the outputs.

        It also updates the moving log deviation. Without `is_optimal`, nothing changes.

        Source:
            Rybkin, Daniilidis and Levine, "Simple and Effective VAE Training with
            Calibrated Decoders", section 3.
        """
        if not self.is_optimal:
            return outputs
        mean, _ = tf.split(outputs, 2, axis=-1)
        squared = sum_values(tf.square(images - tf.stop_gradient(mean)))
        sums = tf.stack(
            [
                tf.reduce_sum(tf.cast(squared, tf.float64)),
                tf.cast(tf.size(mean), tf.float64),
            ]
        )
        squared_sum, num_values = tf.unstack(exact.sum_over_replicas(sums))
        best = tf.cast(0.5 * tf.math.log(squared_sum / num_values), mean.dtype)
        moving = decoder.get_layer(LOG_SCALE_LAYER).log_scale
        moving.assign(moving * _SCALE_MOMENTUM + best * (1 - _SCALE_MOMENTUM))
        return tf.concat([mean, tf.fill(tf.shape(mean), best)], axis=-1)

    def describe(self) -> str:
        """Returns the likelihood's name as a noun phrase."""
        return "a Gaussian likelihood whose standard deviation is " + (
            "the optimum for each batch" if self.is_optimal else "learnt"
        )


def _normal_log_density(
    x: tf.Tensor, mean: tf.Tensor, log_stddev: tf.Tensor
) -> tf.Tensor:
    squared = tf.square((x - mean) * tf.exp(-log_stddev))
    return -sum_values(0.5 * squared + log_stddev + 0.5 * math.log(2 * math.pi))
