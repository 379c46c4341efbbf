"""Batch normalisation over the global batch, the same on any number of devices.

groups [g, ..., channels] -> moments of each group
                          -> moments of the global batch, float64
                          -> normalised groups
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf

from trainer.numerics import exact

# A strategy traces each replica in a separate thread.
_active = threading.local()


@contextlib.contextmanager
def warm_up(num_updates: tf.Tensor) -> Iterator[None]:
    """Limits the momentum of all layers to (1 + n) / (10 + n) after n updates.

    The moving statistics then fit the first batches at once. With momentum 0.99 alone,
    they would still hold a third of their initial values after 100 updates.

    Args:
        num_updates: Number of updates made, a scalar.

    Source: the warm-up of `tf.train.ExponentialMovingAverage`.
    """
    n = tf.cast(num_updates, tf.float64)
    _active.limit = (1 + n) / (10 + n)
    try:
        yield
    finally:
        _active.limit = None


class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation over the global batch, synchronised over replicas.

    In training, the layer computes mean and variance of each group in float32 and
    joins them in float64 over groups and replicas. Every replica then normalises by the
    statistics of the whole global batch, and updates its moving statistics. If the
    global batch is one group on one replica, a single TensorFlow kernel normalises.

    The layer computes in float32, and its outputs have the type of its inputs.

    Source:
        Ioffe and Szegedy, "Batch Normalization", algorithms 1 and 2. The moving
        variance is biased, as in Keras.
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the normalised inputs, `[batch, ..., channels]`."""
        if not training:
            scale = self.gamma.value * tf.math.rsqrt(
                self.moving_variance.value + self.epsilon
            )
            shift = self.beta.value - self.moving_mean.value * scale
            outputs = tf.cast(inputs, tf.float32) * scale + shift
            return tf.cast(outputs, inputs.dtype)
        normalize = self._normalize
        if exact.is_one_group():
            normalize = self._normalize_fused
        outputs, mean, variance = normalize(
            inputs, exact.weight(self.gamma), exact.weight(self.beta)
        )
        keep, take = _weights(self.momentum)
        for moving, value in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            moving.assign(moving * keep + value * take)
        return outputs

    def _normalize_fused(
        self, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Does the work of `_normalize` in one kernel, if the run has one group."""
        [gamma], [beta] = (exact.fan_out(each, tf.float32, 1) for each in (gamma, beta))
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            _maps(x), gamma, beta, epsilon=self.epsilon
        )
        return (
            tf.reshape(outputs, tf.shape(x)),
            tf.stop_gradient(mean),
            tf.stop_gradient(_float32(_biased(variance, x))),
        )

    def _normalize(
        self, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        groups = exact.split_groups(x)
        num_values = _num_values(x)
        kernels = _Fused if _has_fused_kernels(x) else _Plain

        @tf.custom_gradient
        def normalize(gamma: tf.Tensor, beta: tf.Tensor, *groups: tf.Tensor):
            mean64, variance64 = _global_moments(
                [kernels.moments(group) for group in groups]
            )
            mean, variance = _float32(mean64), _float32(variance64)
            rstd = _float32(tf.math.rsqrt(variance64 + self.epsilon))
            scale = _float32(gamma) * rstd
            outputs = [
                kernels.affine(group, mean, scale, _float32(beta)) for group in groups
            ]

            def gradient(*upstream: tf.Tensor):
                # With h = (x - mean) * rstd and means over the global batch,
                # dx = scale * (dy - mean(dy) - h * mean(dy * h)).
                scaled, dy_sums, dyx_sums = zip(
                    *(
                        kernels.gradient_parts(dy, group, mean, scale)
                        for dy, group in zip(upstream, groups, strict=False)
                    ),
                    strict=True,
                )
                dbeta, dot = _float64_sum(dy_sums), _float64_sum(dyx_sums)
                dy_total, dot_total = tf.unstack(
                    exact.sum_over_replicas(tf.stack([dbeta, dot]))
                )
                # Multiply the total, because a product of each replica's sum would be
                # rounded before the sum over replicas.
                dgamma_total = dot_total * tf.cast(rstd, tf.float64)
                dgamma = exact.on_first_replica(dgamma_total)
                dy_mean = _float32(dy_total / num_values)
                dyh_mean = _float32(dgamma_total / num_values)
                dx = [
                    part
                    + kernels.affine(
                        group, mean, -scale * rstd * dyh_mean, -scale * dy_mean
                    )
                    for part, group in zip(scaled, groups, strict=True)
                ]
                return dgamma, dbeta, *dx

            return (*outputs, mean, variance), gradient

        *outputs, mean, variance = normalize(gamma, beta, *groups)
        return exact.join(outputs), mean, variance


def _weights(momentum: float) -> tuple[float | tf.Tensor, float | tf.Tensor]:
    """Returns the weights of the moving statistics and of the batch's statistics."""
    limit = getattr(_active, "limit", None)
    if limit is None:
        return momentum, 1 - momentum
    # In float64, so that the weights after the warm-up are the same bits as without.
    momentum = tf.minimum(tf.constant(momentum, tf.float64), limit)
    return _float32(momentum), _float32(1 - momentum)


class _Plain:
    """Batch norm of one group of the batch, in any precision and on any device."""

    @staticmethod
    def moments(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the group's mean and variance, `[channels]` float64."""
        mean, variance = tf.nn.moments(_float32(x), _axes(x))
        return tf.cast(mean, tf.float64), tf.cast(variance, tf.float64)

    @staticmethod
    def affine(
        x: tf.Tensor, mean: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor
    ) -> tf.Tensor:
        """Returns (x - mean) * scale + shift in the type of x."""
        return tf.cast(_float32(x) * scale + (shift - mean * scale), x.dtype)

    @staticmethod
    def gradient_parts(
        dy: tf.Tensor, x: tf.Tensor, mean: tf.Tensor, scale: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns scale * dy, the sum of dy, and the sum of dy * (x - mean)."""
        wide = _float32(dy)
        dyx = wide * (_float32(x) - mean)
        return (
            tf.cast(scale * wide, x.dtype),
            tf.reduce_sum(wide, _axes(x)),
            tf.reduce_sum(dyx, _axes(x)),
        )


class _Fused:
    """The operations of `_Plain` by fused batch-norm kernels: fewer passes on a CPU."""

    @staticmethod
    def moments(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        ones = tf.ones(x.shape[-1:])
        _, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=_maps(x), scale=ones, offset=ones, mean=[], variance=[]
        )
        return tf.cast(mean, tf.float64), _biased(variance, x)

    @staticmethod
    def affine(
        x: tf.Tensor, mean: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor
    ) -> tf.Tensor:
        y, *_ = tf.raw_ops.FusedBatchNormV3(
            x=_maps(x),
            scale=scale,
            offset=shift,
            mean=mean,
            variance=tf.ones_like(mean),
            epsilon=0.0,
            is_training=False,
        )
        return tf.reshape(y, tf.shape(x))

    @staticmethod
    def gradient_parts(
        dy: tf.Tensor, x: tf.Tensor, mean: tf.Tensor, scale: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        scaled, dyx_sum, dy_sum, *_ = tf.raw_ops.FusedBatchNormGradV3(
            y_backprop=_maps(dy),
            x=_maps(x),
            scale=scale,
            reserve_space_1=mean,
            reserve_space_2=tf.ones_like(mean),
            reserve_space_3=[],
            epsilon=0.0,
            is_training=False,
        )
        return tf.reshape(scaled, tf.shape(x)), dy_sum, dyx_sum


def _has_fused_kernels(x: tf.Tensor) -> bool:
    # On a GPU the fused gradient with given statistics is not deterministic.
    return x.dtype == tf.float32 and not tf.config.list_logical_devices("GPU")


def _float32(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(x, tf.float32)


def _float64_sum(values: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.add_n([tf.cast(value, tf.float64) for value in values])


def _axes(x: tf.Tensor) -> list[int]:
    return list(range(x.shape.rank - 1))


def _maps(x: tf.Tensor) -> tf.Tensor:
    """Returns x as `[batch, height, width, channels]`; x may be `[batch, channels]`."""
    return tf.reshape(x, [-1, 1, 1, x.shape[-1]]) if x.shape.rank == 2 else x


def _biased(variance: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Returns the biased variance of x, float64, from its unbiased variance."""
    num_values = tf.cast(tf.size(x, tf.int64) // x.shape[-1], tf.float64)
    return tf.cast(variance, tf.float64) * (num_values - 1) / num_values


def _num_values(x: tf.Tensor) -> tf.Tensor:
    """Returns the number of values per channel in the global batch, float64."""
    num_local = tf.size(x, tf.int64) // x.shape[-1]
    num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return tf.cast(num_local * num_replicas, tf.float64)


def _global_moments(
    moments: Sequence[tuple[tf.Tensor, tf.Tensor]],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns mean and variance of the global batch, `[channels]` float64.

    Args:
        moments: Mean and variance of each group of this replica, `[channels]` float64.
    """
    num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
    sums = exact.sum_over_groups(
        [tf.stack([mean, variance + tf.square(mean)]) for mean, variance in moments]
    )
    mean, square = tf.unstack(sums / (len(moments) * num_replicas))
    return mean, square - tf.square(mean)
