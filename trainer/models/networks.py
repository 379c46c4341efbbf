"""Encoder and decoder: convolutions, dense layers, or both.

Shapes, with images of size = base * 2^n, filters f1..fn, units u1..um and d latents:

    encoder  [b, size, size, c] -> [b, size/2, size/2, f1] -> ... -> [b, base, base, fn]
             -> [b, u1] -> ... -> [b, um] -> posterior mean and log variance, [b, d]
    decoder  [b, d] -> [b, u1] -> ... -> [b, um] -> [b, base, base, f1]
             -> [b, 2 base, 2 base, f2] -> ... -> [b, size, size, outputs]

Without filters both are multilayer perceptrons; without units both are purely
convolutional. `options.py` holds the options of each layer.

Source: A. Royer, "Variational Auto-encoders" (2017), for the CelebA model, which has
batch norm and base 4.
"""

import math
import random
from collections.abc import Sequence
from typing import Any

import keras
from ml_collections import ConfigDict

from trainer.models import layers
from trainer.models.batch_norm import BatchNormalization
from trainer.models.options import LayerOptions, LayerTable


def make_encoder(
    config: ConfigDict,
    image_shape: Sequence[int],
    num_conditions: int = 0,
    seeds: random.Random | None = None,
) -> keras.Model:
    """Returns the model from images to the posterior's mean and log variance.

    Args:
        config: Settings.
        image_shape: `[size, size, channels]`.
        num_conditions: Length of the conditions. The encoder appends them to the inputs
            of the dense layers.
        seeds: Generator of the seeds of initial weights; None for a new generator.

    Returns:
        `[b, size, size, c] -> ([b, d], [b, d])`, or with conditions
        `([b, size, size, c], [b, num_conditions]) -> ([b, d], [b, d])`.

    Raises:
        ValueError: If the filters do not fit the image size.
    """
    table = LayerTable(config, "encoder", seeds)
    images = keras.Input(image_shape, name="image")
    inputs: Any = images
    x = _convolve(images, config.encoder_filters, config, table)
    if num_conditions:
        conditions = keras.Input((num_conditions,), name="conditions")
        inputs = (images, conditions)
        x = keras.layers.Concatenate(name="with_conditions")([x, conditions])
    x = _dense_layers(x, config.encoder_units, table, config.batch_norm_momentum)
    heads = []
    for name in ("posterior_mean", "posterior_log_var"):
        options = table.options(name, activation="linear", batch_norm=False)
        heads.append(
            layers.Dense(
                config.latent_dim,
                kernel_initializer=options.make_initializer(table.seeds),
                name=name,
            )(x)
        )
    table.check_all_used()
    mean, log_var = heads
    if config.posterior_scale == "softplus":
        log_var = layers.LogVarFromSoftplus(
            config.posterior_scale_floor, name="softplus_scale"
        )(log_var)
    return keras.Model(inputs, (mean, log_var), name="encoder")


def make_classifier(
    config: ConfigDict,
    image_shape: Sequence[int],
    seeds: random.Random | None = None,
) -> keras.Model:
    """Returns the model from images to the logits of their classes.

    It has the encoder's architecture, unless the settings give it layers of its own. It
    shares no weights with the encoder.

    Args:
        config: Settings.
        image_shape: `[size, size, channels]`.
        seeds: Generator of the seeds of initial weights; None for a new generator.

    Returns:
        `[b, size, size, c] -> [b, num_classes]`.

    Raises:
        ValueError: If the filters do not fit the image size.
    """
    table = LayerTable(config, "classifier", seeds)
    filters, units = config.classifier_filters, config.classifier_units
    if not filters and not units:
        filters, units = config.encoder_filters, config.encoder_units
    images = keras.Input(image_shape, name="image")
    x = _convolve(images, filters, config, table)
    x = _dense_layers(x, units, table, config.batch_norm_momentum)
    options = table.options("logits", activation="linear", batch_norm=False)
    logits = layers.Dense(
        config.num_classes,
        kernel_initializer=options.make_initializer(table.seeds),
        name="logits",
    )(x)
    table.check_all_used()
    return keras.Model(images, logits, name="classifier")


def make_decoder(
    config: ConfigDict,
    image_shape: Sequence[int],
    num_outputs: int,
    num_conditions: int = 0,
    seeds: random.Random | None = None,
) -> keras.Model:
    """Returns the model from latents to the outputs that a likelihood reads.

    Args:
        config: Settings.
        image_shape: `[size, size, channels]`.
        num_outputs: Number of outputs per pixel.
        num_conditions: Length of the conditions. The decoder appends them to the
            latents.
        seeds: Generator of the seeds of initial weights; None for a new generator.

    Returns:
        `[b, d] -> [b, size, size, num_outputs]`, or with conditions
        `([b, d], [b, num_conditions]) -> [b, size, size, num_outputs]`.

    Raises:
        ValueError: If the filters do not fit the image size.
    """
    table = LayerTable(config, "decoder", seeds)
    z = x = keras.Input((config.latent_dim,), name="z")
    inputs: Any = z
    if num_conditions:
        conditions = keras.Input((num_conditions,), name="conditions")
        inputs = (z, conditions)
        x = keras.layers.Concatenate(name="with_conditions")([z, conditions])
    x = _dense_layers(x, config.decoder_units, table, config.batch_norm_momentum)
    if config.decoder_filters:
        x = _deconvolve(x, config, image_shape, num_outputs, table)
    else:
        options = table.options("image", activation="linear", batch_norm=False)
        height, width, _ = image_shape
        x = layers.Dense(
            height * width * num_outputs,
            kernel_initializer=options.make_initializer(table.seeds),
            name="image",
        )(x)
        x = keras.layers.Reshape((height, width, num_outputs), name="reshape")(x)
    table.check_all_used()
    if config.output_activation != "linear":
        x = keras.layers.Activation(
            config.output_activation, name=config.output_activation, dtype="float32"
        )(x)
    return keras.Model(inputs, x, name="decoder")


def check_image_size(
    image_shape: Sequence[int], base_size: int, num_halvings: int, part: str
) -> None:
    """Checks that `num_halvings` halvings of an image lead to the base size.

    Raises:
        ValueError: If they do not; the message lists the sizes that fit.
    """
    height, width, _ = image_shape
    if height == width == base_size * 2**num_halvings:
        return
    sizes = ", ".join(str(base_size * 2**blocks) for blocks in range(1, 8))
    fitting = base_size * 2**num_halvings
    raise ValueError(
        f"images of {height} x {width} do not fit `config.{part}_filters`, whose "
        f"{num_halvings} blocks need {fitting} x {fitting}: n blocks need {base_size} "
        f"* 2^n, that is {sizes} for 1 to 7 blocks; prepare the dataset with another "
        f"`image_size`, or change `config.{part}_filters` or "
        f"config.base_size={base_size}"
    )


def _convolve(
    images: keras.KerasTensor,
    filters: Sequence[int],
    config: ConfigDict,
    table: LayerTable,
) -> keras.KerasTensor:
    """Halves the images in each block down to base_size, then flattens them."""
    x = images
    if config.unit_inputs:
        x = keras.layers.Rescaling(0.5, 0.5, name="unit")(x)
    if filters:
        check_image_size(images.shape[1:], config.base_size, len(filters), table.part)
    stride = 2 if config.downsample == "stride" else 1
    for block, channels in enumerate(filters):
        name = f"conv_{block}"
        options = table.options(name)
        x = layers.Conv2D(
            channels,
            options.kernel_size,
            stride,
            "same",
            use_bias=not options.batch_norm,
            kernel_initializer=options.make_initializer(table.seeds),
            name=name,
        )(x)
        x = _activate(x, options, config.batch_norm_momentum, name)
        if config.downsample == "max_pool":
            x = keras.layers.MaxPooling2D(name=f"{name}_pool")(x)
    return keras.layers.Flatten(name="flatten")(x)


def _dense_layers(
    x: keras.KerasTensor, units: Sequence[int], table: LayerTable, momentum: float
) -> keras.KerasTensor:
    for layer, num_units in enumerate(units):
        x = _dense_layer(x, num_units, f"dense_{layer}", table, momentum)
    return x


def _dense_layer(
    x: keras.KerasTensor, num_units: int, name: str, table: LayerTable, momentum: float
) -> keras.KerasTensor:
    options = table.options(name)
    x = layers.Dense(
        num_units,
        use_bias=not options.batch_norm,
        kernel_initializer=options.make_initializer(table.seeds),
        name=name,
    )(x)
    return _activate(x, options, momentum, name)


def _deconvolve(
    x: keras.KerasTensor,
    config: ConfigDict,
    image_shape: Sequence[int],
    num_outputs: int,
    table: LayerTable,
) -> keras.KerasTensor:
    """Upsamples `[b, features]` to the image.

    The first block makes `base_size` pixels a side, and each later block doubles the
    side. The last layer multiplies the side by `last_stride`.
    """
    first, *others = tuple(config.decoder_filters)
    num_doublings = len(others) + config.last_stride - 1
    check_image_size(image_shape, config.base_size, num_doublings, "decoder")
    blocks = [(channels, 2, "same") for channels in others]
    if config.decoder_start == "dense":
        # A dense layer has a bias per position; a transposed convolution does not.
        base_shape = (config.base_size, config.base_size, first)
        x = _dense_layer(
            x, math.prod(base_shape), "base", table, config.batch_norm_momentum
        )
        x = keras.layers.Reshape(base_shape, name="base_map")(x)
    else:
        x = keras.layers.Reshape((1, 1, x.shape[-1]), name="pixel")(x)
        blocks = [(first, 1, "valid"), *blocks]
    for block, (channels, stride, padding) in enumerate(blocks):
        name = f"deconv_{block}"
        options = table.options(
            name, **({"kernel_size": config.base_size} if padding == "valid" else {})
        )
        x = layers.Conv2DTranspose(
            channels,
            options.kernel_size,
            stride,
            padding,
            use_bias=not options.batch_norm,
            kernel_initializer=options.make_initializer(table.seeds),
            name=name,
        )(x)
        x = _activate(x, options, config.batch_norm_momentum, name)
    options = table.options("image", activation="linear", batch_norm=False)
    return layers.Conv2DTranspose(
        num_outputs,
        options.kernel_size,
        config.last_stride,
        "same",
        kernel_initializer=options.make_initializer(table.seeds),
        name="image",
    )(x)


def _activate(
    x: keras.KerasTensor, options: LayerOptions, momentum: float, name: str
) -> keras.KerasTensor:
    if options.batch_norm:
        x = BatchNormalization(momentum=momentum, name=f"{name}_norm")(x)
    if options.activation == "linear":
        return x
    return layers.Activation(options.activation, name=f"{name}_{options.activation}")(x)
