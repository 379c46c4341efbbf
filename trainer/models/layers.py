"""Keras layers that compute the same bits on any number of devices.

`Conv2D` to `Activation` are Keras's own layers, with the usual weights, names and
settings. Only their `call` differs: it goes through `trainer.numerics.exact`.
"""

import keras
import tensorflow as tf

from trainer.numerics import exact


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


class Activation(keras.layers.Activation):
    """Elementwise activation function."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, ...]`, the shape of the inputs."""
        return exact.by_group(self.activation, inputs)


class AppendLogScale(keras.layers.Layer):
    """Appends one log standard deviation, shared by all values, to the means.

    Attributes:
        log_scale: Log standard deviation, a scalar variable. The optimizer trains it if
            `is_trained`; else `ScaledGaussian.fit` assigns it.
    """

    def __init__(self, initial: float, is_trained: bool, name: str) -> None:
        """Creates the scalar variable."""
        # float32 in every precision: bfloat16 has two digits, too few for a likelihood.
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
    """Converts the raw scale s of a posterior to its log variance.

    The standard deviation is softplus(s) + floor.
    """

    def __init__(self, floor: float, name: str) -> None:
        """Stores the smallest standard deviation."""
        super().__init__(name=name, dtype="float32")
        self._floor = floor

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, latent_dim]`."""
        return 2 * keras.ops.log(keras.ops.softplus(inputs) + self._floor)


def _weights(layer: keras.layers.Layer) -> list[tf.Tensor]:
    """Returns the tensors that stand for a layer's kernel and, if it has one, bias."""
    variables = [layer.kernel, *([layer.bias] if layer.use_bias else [])]
    return [exact.weight(variable) for variable in variables]
