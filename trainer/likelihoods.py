"""Likelihoods p(x|z): what the decoder's outputs say about an image.

Images `[b, h, w, c]` are in [-1, 1]. A decoder gives outputs `[b, h, w, n]`, where n is
the likelihood's `num_outputs(c)`, all of one kind before all of the next.
"""

import abc
import dataclasses
import math
from typing import Any

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from trainer import exact

LIKELIHOODS = ("bernoulli", "gaussian", "logistic_mixture")
SCALES = ("fixed", "learned", "optimal")
LOG_SCALE_LAYER = "log_scale"

# Share of the last value that the moving scale of `OptimalGaussian` keeps in a step.
_SCALE_MOMENTUM = 0.99
# Half the distance of two 8-bit levels in [-1, 1].
_HALF_LEVEL = 1.0 / 255.0


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
        """Returns the mean image, `[batch, height, width, channels]` in [-1, 1]."""

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
        _check_shapes(images, outputs)
        cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(
            (images + 1) / 2, outputs
        )
        return -_sum(cross_entropy)

    def mean(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns 2 p - 1."""
        return 2 * tf.sigmoid(outputs) - 1

    def draw(self, outputs: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns -1 or 1 for every value."""
        uniform = tf.random.stateless_uniform(tf.shape(outputs), seed, alg="philox")
        return tf.where(uniform < tf.sigmoid(outputs), 1.0, -1.0)

    def describe(self) -> str:
        """Names it."""
        return "a Bernoulli likelihood (summed binary cross-entropy)"


@dataclasses.dataclass(frozen=True)
class Gaussian(Likelihood):
    """Each value is normal about the decoder's output, with a fixed deviation.

    Attributes:
        stddev: Standard deviation where values span [-1, 1]; positive.
    """

    stddev: float

    def __post_init__(self) -> None:
        """Checks the deviation."""
        if not self.stddev > 0:
            raise ValueError(
                f"--config.likelihood_stddev={self.stddev} must be positive"
            )

    def num_outputs(self, channels: int) -> int:
        """Returns one mean a value."""
        return channels

    def log_likelihood(self, images: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the normal log density, summed over values."""
        _check_shapes(images, outputs)
        return _normal_log_density(images, outputs, tf.math.log(self.stddev))

    def mean(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the outputs."""
        return outputs

    def draw(self, outputs: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns the outputs with noise added."""
        noise = tf.random.stateless_normal(tf.shape(outputs), seed, alg="philox")
        return outputs + self.stddev * noise

    def describe(self) -> str:
        """Names it."""
        return f"a Gaussian likelihood of standard deviation {self.stddev:.4g}"


@dataclasses.dataclass(frozen=True)
class ScaledGaussian(Likelihood):
    """A Gaussian with one deviation for all values, which training finds.

    The layer `AppendLogScale` holds it, and puts its logarithm beside each mean.

    Attributes:
        is_optimal: Whether it is the best of each batch, in closed form: the root of
            the mean squared error, whose moving average serves outside training. Else
            it is a weight.
    """

    is_optimal: bool

    def num_outputs(self, channels: int) -> int:
        """Returns a mean and a log deviation a value."""
        return 2 * channels

    def log_likelihood(self, images: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the normal log density, summed over values."""
        mean, log_stddev = tf.split(outputs, 2, axis=-1)
        _check_shapes(images, mean)
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
        """Puts the deviation of the whole global batch in the outputs, if optimal.

        Source:
            Rybkin, Daniilidis and Levine, "Simple and Effective VAE Training with
            Calibrated Decoders", section 3.
        """
        if not self.is_optimal:
            return outputs
        mean, _ = tf.split(outputs, 2, axis=-1)
        squared = _sum((images - tf.stop_gradient(mean)) ** 2)
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
        """Names it."""
        return "a Gaussian likelihood whose standard deviation is " + (
            "the best of each batch" if self.is_optimal else "learnt"
        )


@dataclasses.dataclass(frozen=True)
class LogisticMixture(Likelihood):
    """Each 8-bit pixel is drawn from a mixture of logistics, cut into 256 levels.

    A pixel has the logits of its components, then their means and the logarithms of
    their scales, each for every channel. Given the component, the channels are
    independent. It is a distribution of levels, so that no dequantisation is needed.

    Attributes:
        num_components: At least 1.

    Source:
        Salimans et al., "PixelCNN++", equation 2, without its channel coefficients.
    """

    num_components: int

    def __post_init__(self) -> None:
        """Checks the number of components."""
        if self.num_components < 1:
            raise ValueError(
                f"--config.num_mixtures={self.num_components} must be at least 1"
            )

    def num_outputs(self, channels: int) -> int:
        """Returns the outputs of a pixel."""
        return self.num_components * (1 + 2 * channels)

    def log_likelihood(self, images: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the log probability of the levels, summed over pixels."""
        logits, means, log_scales = self._split(outputs)
        values = images[..., tf.newaxis, :]
        _check_shapes(values[..., 0, :], means[..., 0, :])
        inverse = tf.exp(-log_scales)
        upper = (values - means + _HALF_LEVEL) * inverse
        lower = (values - means - _HALF_LEVEL) * inverse
        # Of the levels at the ends, which hold all that is beyond them.
        log_below = tf.math.log_sigmoid(upper)
        log_above = tf.math.log_sigmoid(-lower)
        # log(sigmoid(upper) - sigmoid(lower)), exact for any distance of the two.
        log_between = log_below + log_above + _log_one_minus_exp(lower - upper)
        log_level = tf.where(
            values < -1 + _HALF_LEVEL,
            log_below,
            tf.where(values > 1 - _HALF_LEVEL, log_above, log_between),
        )
        log_component = tf.nn.log_softmax(logits) + tf.reduce_sum(log_level, axis=-1)
        return _sum(tf.reduce_logsumexp(log_component, axis=-1, keepdims=True))

    def mean(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the mean of the components' means."""
        logits, means, _ = self._split(outputs)
        weights = tf.nn.softmax(logits)[..., tf.newaxis]
        return tf.clip_by_value(tf.reduce_sum(weights * means, axis=-2), -1, 1)

    def draw(self, outputs: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns a drawn image, rounded to levels."""
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
        """Names it."""
        return f"a discretised mixture of {self.num_components} logistics"

    def _split(self, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns logits `[..., k]`, means and log scales `[..., k, channels]`."""
        k = self.num_components
        channels = (outputs.shape[-1] - k) // (2 * k)
        logits, means, log_scales = tf.split(outputs, [k, k * channels, -1], axis=-1)
        shape = tf.concat([tf.shape(outputs)[:-1], [k, channels]], axis=0)
        # A scale below a hundredth of a level would only overflow.
        log_scales = tf.maximum(tf.reshape(log_scales, shape), -9.0)
        return logits, tf.reshape(means, shape), log_scales


def make_likelihood(config: ConfigDict, num_values: int) -> Likelihood:
    """Returns the likelihood that `config` describes, for images of `num_values`.

    Raises:
        ValueError: If a setting is not one of those that are allowed.
    """
    _check_choice("likelihood", config.likelihood, LIKELIHOODS)
    _check_choice("likelihood_scale", config.likelihood_scale, SCALES)
    if config.likelihood == "bernoulli":
        return Bernoulli()
    if config.likelihood == "logistic_mixture":
        return LogisticMixture(config.num_mixtures)
    if config.likelihood_scale != "fixed":
        return ScaledGaussian(is_optimal=config.likelihood_scale == "optimal")
    if config.objective == "weighted_mse" and config.latent_weight:
        weight = config.latent_weight / config.pixel_weight
        return Gaussian(math.sqrt(weight * num_values / 2))
    return Gaussian(config.likelihood_stddev)


def _check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(
            f"--config.{name}={value!r} must be one of {', '.join(allowed)}"
        )


def _check_shapes(images: tf.Tensor, outputs: tf.Tensor) -> None:
    if not images.shape.is_compatible_with(outputs.shape):
        raise ValueError(f"images {images.shape} and outputs {outputs.shape} differ")


def _sum(values: tf.Tensor) -> tf.Tensor:
    """Returns the sum over all but the first axis."""
    return tf.reduce_sum(values, axis=list(range(1, values.shape.rank)))


def _normal_log_density(
    x: tf.Tensor, mean: tf.Tensor, log_stddev: tf.Tensor
) -> tf.Tensor:
    squared = ((x - mean) * tf.exp(-log_stddev)) ** 2
    return -_sum(0.5 * squared + log_stddev + 0.5 * math.log(2 * math.pi))


def _log_one_minus_exp(x: tf.Tensor) -> tf.Tensor:
    """Returns log(1 - exp(x)) for x < 0."""
    # Each of the two loses its digits where the other is exact.
    is_small = x > -math.log(2)
    near = tf.math.log(-tf.math.expm1(tf.where(is_small, x, -1.0)))
    far = tf.math.log1p(-tf.exp(tf.where(is_small, -1.0, x)))
    return tf.where(is_small, near, far)


def _open_uniform(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns numbers in (0, 1), neither end among them."""
    return tf.random.stateless_uniform(shape, seed, 1e-7, 1 - 1e-7, alg="philox")
