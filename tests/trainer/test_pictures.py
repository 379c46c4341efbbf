import numpy as np
import tensorflow as tf

from configs import celeba_debug
from trainer import grids, pictures
from trainer.models.vae import make_vae

VAE = make_vae(celeba_debug.get_config(), (32, 32, 3))
IMAGES = np.random.default_rng(0).uniform(-1, 1, (30, 32, 32, 3)).astype(np.float32)


def test_the_grids_have_the_published_layout() -> None:
    found = pictures.draw_grids(VAE, IMAGES, seed=0)
    assert {name: grid.shape for name, grid in found.items()} == {
        "reconstruction": (5 * 32, 10 * 32, 3),
        "samples/sampled": (5 * 32, 5 * 32, 3),
        "samples/interpolated": (5 * 32, 5 * 32, 3),
    }


def test_originals_stand_before_their_reconstructions() -> None:
    grid = pictures.draw_grids(VAE, IMAGES, seed=0)["reconstruction"]
    np.testing.assert_array_equal(grid[:32, :32], grids.tile(IMAGES[:1], 1))
    mean, _ = VAE.encoder(IMAGES[:25])
    np.testing.assert_array_equal(
        grid[:32, 32:64], grids.tile(VAE.decoder(mean).numpy()[:1], 1)
    )
    np.testing.assert_array_equal(grid[-32:, -64:-32], grids.tile(IMAGES[24:25], 1))


def test_few_images_make_a_small_grid() -> None:
    found = pictures.draw_grids(VAE, IMAGES[:2], seed=0)
    assert found["reconstruction"].shape == (32, 320, 3)


def test_samples_depend_on_the_seed_alone() -> None:
    first = pictures.draw_grids(VAE, IMAGES, seed=0)
    again = pictures.draw_grids(VAE, IMAGES[:3], seed=0)
    other = pictures.draw_grids(VAE, IMAGES, seed=1)
    for name in ("samples/sampled", "samples/interpolated"):
        np.testing.assert_array_equal(first[name], again[name])
        assert (first[name] != other[name]).any()


def test_interpolation_is_linear_and_reaches_both_ends() -> None:
    start, end = tf.constant([0.0, 4.0]), tf.constant([2.0, 0.0])
    found = pictures.interpolate(start, end, 5).numpy().tolist()
    assert found == [[0, 4], [0.5, 3], [1, 2], [1.5, 1], [2, 0]]
