"""8-bit levels, distributed as a mixture of a few logistics."""

import dataclasses
import math
from typing import Any

import keras
import tensorflow as tf

from trainer.models.likelihoods.base import Likelihood, check_shapes, sum_values

# Half the distance between adjacent 8-bit levels in [-1, 1].
_HALF_LEVEL = 1.0 / 255.0


@dataclasses.dataclass(frozen=True)
class LogisticMixture(Likelihood):
    """Mixture of logistics for 8-bit pixels, discretised to 256 levels.

    The outputs of a pixel are the logits of its components, then the means of the
    components for every channel, then their log scales for every channel. Given the
    component, the channels are independent. Each level has its own probability, so the
    likelihood needs no dequantisation.

    Attributes:
        num_components: Number of logistics in the mixture, at least 1.

    Source:
        Salimans et al., "PixelCNN++", equation 2, without its channel coefficients.
    """

    num_components: int

    def __post_init__(self) -> None:
        """Checks the number of components."""
        if self.num_components < 1:
            raise ValueError(
                f"config.num_mixtures={self.num_components} must be at least 1"
            )

    def num_outputs(self, channels: int) -> int:
        """Returns the number of outputs per pixel."""
        return self.num_components * (1 + 2 * channels)

    def log_likelihood(self, images: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the log probability of the levels, summed over pixels."""
        logits, means, log_scales = self._split(outputs)
        check_shapes(images, means[..., 0, :])
        values = images[..., tf.newaxis, :]
        inverse = tf.exp(-log_scales)
        upper = (values - means + _HALF_LEVEL) * inverse
        lower = (values - means - _HALF_LEVEL) * inverse
        # The lowest and the highest level also hold the probability beyond them.
        log_below = tf.math.log_sigmoid(upper)
        log_above = tf.math.log_sigmoid(-lower)
        # log(sigmoid(upper) - sigmoid(lower)), accurate for any distance between them.
        log_between = log_below + log_above + _log_one_minus_exp(lower - upper)
        log_level = tf.where(
            values < -1 + _HALF_LEVEL,
            log_below,
            tf.where(values > 1 - _HALF_LEVEL, log_above, log_between),
        )
        log_component = tf.nn.log_softmax(logits) + tf.reduce_sum(log_level, axis=-1)
        return sum_values(tf.reduce_logsumexp(log_component, axis=-1, keepdims=True))

    def mean(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the weighted mean of the components' means, clipped to [-1, 1]."""
        logits, means, _ = self._split(outputs)
        weights = keras.ops.expand_dims(keras.ops.softmax(logits), axis=-1)
        return keras.ops.clip(keras.ops.sum(weights * means, axis=-2), -1, 1)

    def draw(self, outputs: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns drawn images, rounded to levels."""
        logits, means, log_scales = self._split(outputs)
        choose, place = tf.unstack(tf.random.split(seed, alg="philox"))
        gumbel = -tf.math.log(-tf.math.log(_open_uniform(tf.shape(logits), choose)))
        chosen = tf.one_hot(tf.argmax(logits + gumbel, -1), self.num_components)
        uniform = _open_uniform(tf.shape(means), place)
        values = means + tf.exp(log_scales) * (
            tf.math.log(uniform) - tf.math.log1p(-uniform)
        )
        value = tf.reduce_sum(chosen[..., tf.newaxis] * values, axis=-2)
        levels = tf.round((tf.clip_by_value(value, -1, 1) + 1) / (2 * _HALF_LEVEL))
        return levels * (2 * _HALF_LEVEL) - 1

    def describe(self) -> str:
        """Returns the likelihood's name as a noun phrase."""
        return f"a discretised mixture of {self.num_components} logistics"

    def _split(self, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns logits `[..., k]`, means and log scales `[..., k, channels]`."""
        k = self.num_components
        channels = (outputs.shape[-1] - k) // (2 * k)
        parts: Any = keras.ops.split(outputs, [k, k + k * channels], axis=-1)
        logits, means, log_scales = parts
        shape = (-1, outputs.shape[1], outputs.shape[2], k, channels)
        # A scale below a sixtieth of a level would only overflow.
        log_scales = keras.ops.maximum(keras.ops.reshape(log_scales, shape), -9.0)
        return logits, keras.ops.reshape(means, shape), log_scales


def _log_one_minus_exp(x: tf.Tensor) -> tf.Tensor:
    """Returns log(1 - exp(x)) for x < 0."""
    # Each formula loses digits where the other is accurate.
    is_small = x > -math.log(2)
    near = tf.math.log(-tf.math.expm1(tf.where(is_small, x, -1.0)))
    far = tf.math.log1p(-tf.exp(tf.where(is_small, -1.0, x)))
    return tf.where(is_small, near, far)


def _open_uniform(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns uniform draws from the open interval (0, 1)."""
    return tf.random.stateless_uniform(shape, seed, 1e-7, 1 - 1e-7, alg="philox")
