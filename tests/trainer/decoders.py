"""Decodes image files in a graph, as a served model does."""

import tensorflow as tf

from trainer.serving import jpeg


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def decode(data: tf.Tensor) -> tf.Tensor:
    return jpeg.decode_upright(data, 3)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def decode_grey(data: tf.Tensor) -> tf.Tensor:
    return jpeg.decode_upright(data, 1)
