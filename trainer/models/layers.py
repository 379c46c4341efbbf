"""Keras layers that compute the same bits on any number of devices.

They are Keras's own layers, with weights, names and settings as usual, and a `call`
that goes through `trainer.exact`.
"""

import keras
import tensorflow as tf

from trainer import exact


class Conv2D(keras.layers.Conv2D):
    """Convolution of `[batch, height, width, channels]`."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, height / stride, width / stride, filters]`."""

        def convolve(
            x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None = None
        ) -> tf.Tensor:
            y = tf.nn.conv2d(x, kernel, self.strides, self.padding.upper())
            return y if bias is None else tf.nn.bias_add(y, bias)

        return exact.by_group(convolve, inputs, *_weights(self))


class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """Transposed convolution of `[batch, height, width, channels]`."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, stride * height, stride * width, filters]` for SAME."""
        _, *spatial, _ = self.compute_output_shape(inputs.shape)

        def deconvolve(
            x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None = None
        ) -> tf.Tensor:
            shape = [tf.shape(x)[0], *spatial, self.filters]
            y = tf.nn.conv2d_transpose(
                x, kernel, shape, self.strides, self.padding.upper()
            )
            return y if bias is None else tf.nn.bias_add(y, bias)

        return exact.by_group(deconvolve, inputs, *_weights(self))


class Dense(keras.layers.Dense):
    """Affine map of `[batch, features]`."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, units]`."""

        def multiply(
            x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None = None
        ) -> tf.Tensor:
            y = tf.matmul(x, kernel)
            return y if bias is None else y + bias

        return exact.by_group(multiply, inputs, *_weights(self))


class AppendLogScale(keras.layers.Layer):
    """Puts one log standard deviation, the same for all values, beside each mean.

    Attributes:
        log_scale: The scalar; a weight if it is trained, else set from outside.
    """

    def __init__(self, initial: float, is_trained: bool, name: str) -> None:
        """Makes the scalar."""
        # In every precision: two digits of bfloat16 would be a coarse likelihood.
        super().__init__(name=name, dtype="float32")
        self.log_scale = self.add_weight(
            name="log_scale",
            shape=(),
            initializer=keras.initializers.Constant(initial),
            trainable=is_trained,
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, height, width, 2 * channels]`."""

        def append(x: tf.Tensor, log_scale: tf.Tensor) -> tf.Tensor:
            return tf.concat([x, tf.zeros_like(x) + log_scale], axis=-1)

        return exact.by_group(append, inputs, exact.weight(self.log_scale))


class LogVarFromSoftplus(keras.layers.Layer):
    """Turns the raw scale s of a posterior to its log variance.

    The standard deviation is softplus(s) + floor.
    """

    def __init__(self, floor: float, name: str) -> None:
        """Keeps the smallest deviation."""
        super().__init__(name=name, dtype="float32")
        self._floor = floor

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, latent_dim]`."""
        return 2 * keras.ops.log(keras.ops.softplus(inputs) + self._floor)


def _weights(layer: keras.layers.Layer) -> list[tf.Tensor]:
    """Returns the tensors that stand for a layer's kernel, and its bias if any."""
    variables = [layer.kernel, *([layer.bias] if layer.use_bias else [])]
    return [exact.weight(variable) for variable in variables]


class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation over the global batch, synchronised over replicas.

    In training each group gives its mean and variance in float32, and these are
    joined in float64 over groups and replicas; so every replica normalises by, and
    stores, the statistics of the whole global batch. Where this is one group on one
    replica, TensorFlow's own kernel does it all. It computes in float32 whatever
    the type of its inputs, which is that of its outputs.

    Source:
        Ioffe and Szegedy, "Batch Normalization", algorithms 1 and 2. The moving
        variance is the biased one, as in Keras.
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
        for moving, value in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return outputs

    def _normalize_fused(
        self, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Does what `_normalize` does, of one group in the whole run, in one kernel."""
        [gamma], [beta] = (exact.fan_out(each, tf.float32, 1) for each in (gamma, beta))
        maps = tf.reshape(x, [-1, 1, 1, x.shape[-1]]) if x.shape.rank == 2 else x
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            maps, gamma, beta, epsilon=self.epsilon
        )
        # It is that of the population, estimated; what is kept is that of the batch.
        num_values = _float32(_num_values(x))
        return (
            tf.reshape(outputs, tf.shape(x)),
            tf.stop_gradient(mean),
            tf.stop_gradient(variance * (num_values - 1) / num_values),
        )

    def _normalize(
        self, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        axes = list(range(x.shape.rank - 1))

        @tf.custom_gradient
        def normalize(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor):
            wide = _float32(x)
            mean64, variance64 = _global_moments(wide, axes)
            mean, variance = _float32(mean64), _float32(variance64)
            rstd = _float32(tf.math.rsqrt(variance64 + self.epsilon))
            scale = _float32(gamma) * rstd
            outputs = wide * scale + (_float32(beta) - mean * scale)

            def gradient(dy: tf.Tensor, *_: tf.Tensor):
                # With h = (x - mean) * rstd and means over the global batch,
                # dx = scale * (dy - mean(dy) - h * mean(dy * h)).
                # Cast anew: kept until here, the wide x would double the memory.
                dy, wide = _float32(dy), _float32(x)
                dy_sum, dyx_sum = tf.unstack(_group_sums(dy, wide - mean, axes))
                sums = tf.stack([dy_sum, dyx_sum * tf.cast(rstd, tf.float64)])
                per_value = exact.sum_over_replicas(sums) / _num_values(x)
                dy_mean, dyh_mean = tf.unstack(_float32(per_value))
                slope = -scale * rstd * dyh_mean
                dx = scale * dy + slope * wide - (scale * dy_mean + slope * mean)
                dbeta, dgamma = tf.unstack(sums)
                return tf.cast(dx, x.dtype), dgamma, dbeta

            return (tf.cast(outputs, x.dtype), mean, variance), gradient

        return normalize(x, gamma, beta)


def _float32(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(x, tf.float32)


def _num_values(x: tf.Tensor) -> tf.Tensor:
    """Number of values of one channel in the global batch, float64."""
    num_local = tf.size(x, tf.int64) // x.shape[-1]
    num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return tf.cast(num_local * num_replicas, tf.float64)


def _global_moments(x: tf.Tensor, axes: list[int]) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns mean and variance `[channels]`, float64, of the global batch."""
    groups = exact.split_groups(x)
    moments = []
    for group in groups:
        mean, variance = tf.nn.moments(group, axes)
        mean, variance = tf.cast(mean, tf.float64), tf.cast(variance, tf.float64)
        moments.append(tf.stack([mean, variance + tf.square(mean)]))
    num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
    mean, square = tf.unstack(
        exact.sum_over_replicas(tf.add_n(moments)) / (len(groups) * num_replicas)
    )
    return mean, square - tf.square(mean)


def _group_sums(dy: tf.Tensor, h: tf.Tensor, axes: list[int]) -> tf.Tensor:
    """Returns this replica's sums of dy and of dy * h, `[2, channels]` float64."""
    return tf.add_n(
        [
            tf.cast(
                tf.stack([tf.reduce_sum(dy_, axes), tf.reduce_sum(dy_ * h_, axes)]),
                tf.float64,
            )
            for dy_, h_ in zip(
                exact.split_groups(dy), exact.split_groups(h), strict=True
            )
        ]
    )
