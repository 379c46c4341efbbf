"""The picture grids that show what a VAE has learnt.

All are made in inference mode, with the batch-norm statistics of training.
"""

import numpy as np
import tensorflow as tf

from trainer import grids, order
from trainer.models.vae import VAE

NUM_PAIRS = 25
_NUM_SAMPLES = 25
_PRIOR_STREAM = 4


def draw_grids(vae: VAE, images: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Returns every grid by its TensorBoard tag, each `[height, width, c]` uint8.

    The latents drawn depend on the seed alone, so that grids of different steps show
    the same samples developing.

    Args:
        vae: In inference mode.
        images: `[n, h, w, c]` in [-1, 1], at most `NUM_PAIRS` are shown.
        seed: Of the prior draws.

    Returns:
        `reconstruction`: originals, each followed by its reconstruction, ten a row;
        `samples/sampled`: 25 decoded prior draws, 5 x 5;
        `samples/interpolated`: 25 linear steps between two prior draws, 5 x 5.
    """
    originals = images[:NUM_PAIRS]
    mean, _ = vae.encoder(originals, training=False)
    latent_dim = mean.shape[1]
    prior = tf.random.stateless_normal(
        [_NUM_SAMPLES + 2, latent_dim], order.fold(seed, _PRIOR_STREAM), alg="philox"
    )

    def decode(z: tf.Tensor) -> np.ndarray:
        return vae.decoder(z, training=False).numpy()

    return {
        "reconstruction": grids.tile(grids.interleave(originals, decode(mean)), 10),
        "samples/sampled": grids.tile(decode(prior[:_NUM_SAMPLES]), 5),
        "samples/interpolated": grids.tile(
            decode(interpolate(prior[-2], prior[-1], _NUM_SAMPLES)), 5
        ),
    }


def interpolate(start: tf.Tensor, end: tf.Tensor, num: int) -> tf.Tensor:
    """Returns `num` equal steps from `start` to `end`, both `[latent_dim]`.

    Example:
        >>> interpolate(tf.zeros([1]), tf.ones([1]), 3).numpy().ravel().tolist()
        [0.0, 0.5, 1.0]
    """
    weights = tf.linspace(0.0, 1.0, num)[:, tf.newaxis]
    return (1 - weights) * start + weights * end
