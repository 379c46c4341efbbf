"""Convolutional encoder and decoder of the CelebA VAE.

Shapes, with n blocks, size = 4 * 2^n, filters f1..fn and d latents:

    encoder  [b, size, size, c] -> [b, size/2, size/2, f1] -> ... -> [b, 4, 4, fn]
             -> posterior mean [b, d] and log variance [b, d]
    decoder  [b, d] -> [b, 4, 4, f1] -> [b, 8, 8, f2] -> ... -> [b, size, size, c]

Source: A. Royer, "Variational Auto-encoders" (2017), CelebA model. Kernels are
Glorot-uniform ("Xavier"), Keras's default.
"""

from collections.abc import Sequence

import keras

from trainer.models import layers

SMALLEST_SIZE = 4
DOWNSAMPLE = ("stride", "max_pool")


def image_size(filters: Sequence[int]) -> int:
    """Returns the image size that as many blocks as `filters` reach from 4 x 4."""
    return SMALLEST_SIZE * 2 ** len(filters)


def check_image_size(size: int, filters: Sequence[int], flag: str) -> None:
    """Checks that halving `size` once per block ends at 4 x 4.

    Raises:
        ValueError: If it does not; the text says which sizes and blocks do.
    """
    if size == image_size(filters):
        return
    sizes = ", ".join(str(SMALLEST_SIZE * 2**blocks) for blocks in range(1, 8))
    raise ValueError(
        f"images of {size} x {size} do not fit the {len(filters)} blocks of "
        f"{flag}={tuple(filters)}, which take {image_size(filters)} x "
        f"{image_size(filters)}: n blocks take 4 * 2^n, that is {sizes} for 1 to 7; "
        f"prepare the dataset with another --image_size or change {flag}"
    )


def make_encoder(
    image_shape: Sequence[int],
    latent_dim: int,
    filters: Sequence[int],
    downsample: str,
    momentum: float,
) -> keras.Model:
    """Returns the model `[b, size, size, c] -> (mean, log variance)`, each `[b, d]`.

    Args:
        image_shape: `[size, size, channels]`.
        latent_dim: Number of latents, d.
        filters: Channels after each block.
        downsample: `stride` halves in the convolution; `max_pool` convolves with
            stride 1, then takes the maximum of 2 x 2.
        momentum: Of the moving batch-norm statistics.

    Raises:
        ValueError: If the size does not reach 4 x 4, or `downsample` is unknown.
    """
    check_image_size(image_shape[0], filters, "--config.encoder_filters")
    if downsample not in DOWNSAMPLE:
        raise ValueError(
            f"--config.downsample={downsample!r} is not one of {', '.join(DOWNSAMPLE)}"
        )
    images = x = keras.Input(image_shape, name="image")
    stride = 2 if downsample == "stride" else 1
    for block, channels in enumerate(filters):
        x = layers.Conv2D(
            channels, 5, stride, "same", use_bias=False, name=f"conv_{block}"
        )(x)
        x = _norm_relu(x, momentum, block)
        if downsample == "max_pool":
            x = keras.layers.MaxPooling2D(name=f"pool_{block}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    mean = layers.Dense(latent_dim, name="posterior_mean")(x)
    log_var = layers.Dense(latent_dim, name="posterior_log_var")(x)
    return keras.Model(images, (mean, log_var), name="encoder")


def make_decoder(
    image_shape: Sequence[int],
    latent_dim: int,
    filters: Sequence[int],
    momentum: float,
) -> keras.Model:
    """Returns the model `[b, d] -> [b, size, size, c]` with values in [-1, 1].

    Args:
        image_shape: `[size, size, channels]`.
        latent_dim: Number of latents, d.
        filters: Channels at 4 x 4 and after each doubling but the last.
        momentum: Of the moving batch-norm statistics.

    Raises:
        ValueError: If doubling 4 x 4 once per filter does not reach the size.
    """
    check_image_size(image_shape[0], filters, "--config.decoder_filters")
    z = keras.Input((latent_dim,), name="z")
    x = keras.layers.Reshape((1, 1, latent_dim), name="reshape")(z)
    for block, channels in enumerate(filters):
        kernel_size, stride, padding = (5, 2, "same") if block else (4, 1, "valid")
        x = layers.Conv2DTranspose(
            channels,
            kernel_size,
            stride,
            padding,
            use_bias=False,
            name=f"deconv_{block}",
        )(x)
        x = _norm_relu(x, momentum, block)
    x = layers.Conv2DTranspose(image_shape[2], 3, 2, "same", name="deconv_image")(x)
    x = keras.layers.Activation("tanh", name="tanh")(x)
    return keras.Model(z, x, name="decoder")


def _norm_relu(x: keras.KerasTensor, momentum: float, block: int) -> keras.KerasTensor:
    x = layers.BatchNormalization(momentum=momentum, name=f"norm_{block}")(x)
    return keras.layers.ReLU(name=f"relu_{block}")(x)
