"""A denoising VAE takes noise away, and a plain VAE takes less of it."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict

from configs import mnist_denoising
from tests.trainer import small_steps
from trainer.data import corruption
from trainer.models.vae import VAE
from trainer.optimization.objectives import make_objective
from trainer.runs import settings
from trainer.runs.state import make_state
from trainer.training.steps import Steps

SHAPE = (28, 28, 1)
BATCH_SIZE = 64
NUM_STEPS = 400
# Standard deviation of the noise that the config sets.
STDDEV = 1.0


def draw_crosses(num: int, seed: int) -> np.ndarray:
    """Returns crosses of one horizontal and one vertical bar, `[num, *SHAPE]`."""
    rng = np.random.default_rng(seed)
    images = np.full([num, *SHAPE], -1.0, np.float32)
    for image, (row, column) in zip(
        images, rng.integers(25, size=(num, 2)), strict=True
    ):
        image[row : row + 4] = image[:, column : column + 4] = 1.0
    return images


def make_config(noise_stddev: float) -> ConfigDict:
    config = mnist_denoising.get_config()
    config.encoder_units = config.decoder_units = (64,)
    config.global_batch_size = BATCH_SIZE
    config.learning_rate = 5e-3
    config.input_noise_stddev = noise_stddev
    return settings.resolve(config, 1)


def train_on_crosses(noise_stddev: float) -> VAE:
    config = make_config(noise_stddev)
    features = small_steps.MANIFEST.features
    features = {
        **features,
        "image": dataclasses.replace(features["image"], shape=SHAPE),
    }
    state = make_state(
        config, dataclasses.replace(small_steps.MANIFEST, features=features)
    )
    objective = make_objective(config, math.prod(SHAPE))
    steps = Steps.of_run(tf.distribute.get_strategy(), state, objective, config, SHAPE)
    images = draw_crosses(NUM_STEPS * BATCH_SIZE, seed=0)
    examples = {"image": images, "record_id": np.arange(len(images))}
    batches = tf.data.Dataset.from_tensor_slices(examples).batch(BATCH_SIZE)
    _, can_go_on, _ = steps.train(iter(batches), tf.constant(NUM_STEPS, tf.int64))
    assert can_go_on
    return state.vae


def test_noisy_images_come_back_nearer_to_the_clean_images() -> None:
    assert mnist_denoising.get_config().input_noise_stddev == STDDEV
    images = tf.constant(draw_crosses(128, seed=1))
    given = settings.select(make_config(STDDEV), corruption.Corruption)
    clean, noisy = corruption.fixed_targets_and_inputs(images, given, seed=0)

    def error(reconstruction: tf.Tensor) -> float:
        return float(tf.reduce_mean((reconstruction - clean) ** 2))

    def error_of(vae: VAE) -> float:
        nothing = tf.zeros([len(images), 0])
        mean, _ = vae.encode(noisy, nothing)
        return error(vae.mean_image(mean, nothing))

    noise, plain, denoising = (
        error(noisy),
        error_of(train_on_crosses(0.0)),
        error_of(train_on_crosses(STDDEV)),
    )
    assert noise == pytest.approx(STDDEV**2, rel=0.02)
    assert denoising < 0.1 * noise
    assert plain > 1.25 * denoising
