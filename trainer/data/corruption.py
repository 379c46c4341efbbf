"""Targets of the reconstruction, and corrupted inputs, from the images of a step.

The caller passes all randomness, so the result of a step is a function of (seed, step,
example).
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from trainer.numerics import random
from trainer.numerics.streams import Stream

_SPLIT_STREAMS = (Stream.SPLIT_BINARIZATION, Stream.SPLIT_NOISE, Stream.SPLIT_DROPS)

# Draws values in the shape of the images; see `targets_and_inputs`.
Draw = Callable[[Callable[..., tf.Tensor], int], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Corruption:
    """Settings that change targets and inputs, named as in a run's config.

    Attributes:
        binarize: See `binarize`.
        input_noise_stddev: See `corrupt`.
        input_drop_fraction: See `corrupt`.
    """

    binarize: str
    input_noise_stddev: float
    input_drop_fraction: float


def targets_and_inputs(
    images: tf.Tensor, corruption: Corruption, draw: Draw
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the targets of the reconstruction, and the images that the encoder sees.

    Args:
        images: `[batch, height, width, channels]` in [-1, 1], as stored.
        corruption: Settings.
        draw: Function of `tf.random.stateless_normal` or `stateless_uniform`, and of
            the number of a use: 0 for binarization, 1 for noise, 2 for drops. It
            returns random values in the shape of `images`.

    Returns:
        Two tensors of the shape of `images`; without noise and drops, the same tensor.
    """
    normal, uniform = tf.random.stateless_normal, tf.random.stateless_uniform
    if corruption.binarize != "none":
        images = binarize(images, corruption.binarize, draw(uniform, 0))
    if not corruption.input_noise_stddev and not corruption.input_drop_fraction:
        return images, images
    return images, corrupt(
        images,
        corruption.input_noise_stddev,
        corruption.input_drop_fraction,
        draw(normal, 1),
        draw(uniform, 2),
    )


def fixed_targets_and_inputs(
    images: tf.Tensor, corruption: Corruption, seed: int, first: int = 0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns targets and inputs for a batch of a split that is read repeatedly.

    An example gets the same binarization and the same noise in every pass, and in
    batches of any size.

    Args:
        images: As in `targets_and_inputs`.
        corruption: Settings.
        seed: Seed of the run.
        first: Place of the batch's first example in the split.
    """
    num, *shape = images.shape.as_list()

    def draw(distribution: Callable[..., tf.Tensor], stream: int) -> tf.Tensor:
        return random.of_examples(
            distribution, shape, seed, _SPLIT_STREAMS[stream], first, num
        )

    return targets_and_inputs(images, corruption, draw)


def fixed_binarization(images: tf.Tensor, mode: str, seed: int) -> tf.Tensor:
    """Returns a user's images in the form that the encoder of a run takes.

    One draw serves all images. So the posterior of an image does not depend on the
    other images.

    Args:
        images: `[n, height, width, channels]` in [-1, 1].
        mode: See `binarize`.
        seed: Seed of the run.
    """
    folded = random.fold(seed, Stream.EXPORT_BINARIZATION)
    shape = images.shape[1:]
    uniform = tf.random.stateless_uniform(shape, folded, alg="philox")
    return binarize(images, mode, uniform)


def binarize(images: tf.Tensor, mode: str, uniform: tf.Tensor) -> tf.Tensor:
    """Returns the targets of the reconstruction, black and white unless `mode` is none.

    Args:
        images: `[batch, height, width, channels]` in [-1, 1].
        mode: `none`; `threshold`, where a value above 0 (the middle grey)
            becomes 1 and any other becomes -1; or `dynamic`, where a value v becomes 1
            with probability (v + 1) / 2 and else -1.
        uniform: Random values in [0, 1), of the shape of `images`; used if `dynamic`.

    Source:
        Burda et al., "Importance Weighted Autoencoders", section 5 (dynamic).

    Example:
        >>> image = tf.constant([-1.0, 0.0, 0.1, 1.0])
        >>> binarize(image, "threshold", image).numpy().tolist()
        [-1.0, -1.0, 1.0, 1.0]
    """
    if mode == "none":
        return images
    level = 2 * uniform - 1 if mode == "dynamic" else 0.0
    return tf.where(images > level, 1.0, -1.0)


def corrupt(
    images: tf.Tensor,
    noise_stddev: float,
    drop_fraction: float,
    normal: tf.Tensor,
    uniform: tf.Tensor,
) -> tf.Tensor:
    """Returns the encoder's input; a denoising VAE reconstructs `images` from it.

    Args:
        images: `[batch, height, width, channels]` in [-1, 1].
        noise_stddev: Standard deviation of the added noise, in units of [-1, 1].
        drop_fraction: Fraction of the values that become -1 (black).
        normal: Random values from N(0, 1), of the shape of `images`.
        uniform: Random values in [0, 1), of the shape of `images`.

    Source:
        Im et al., "Denoising Criterion for Variational Auto-Encoding Framework".

    Example:
        >>> image = tf.ones([2])
        >>> corrupt(image, 0.5, 0.3, -image, tf.constant([0.2, 0.4])).numpy().tolist()
        [-1.0, 0.5]
    """
    noisy = images + noise_stddev * normal
    return tf.where(uniform < drop_fraction, -1.0, noisy)
