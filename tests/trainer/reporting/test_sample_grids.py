from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict

from configs import celeba_debug, mnist_mlss
from trainer.models.vae import VAE, make_vae
from trainer.optimization import losses
from trainer.reporting import image_grid, sample_grids

CONFIG = celeba_debug.get_config()
NOTHING = np.zeros([30, 0], np.float32)
MODEL = make_vae(CONFIG, (32, 32, 3))
IMAGES = np.random.default_rng(0).uniform(-1, 1, (30, 32, 32, 3)).astype(np.float32)


def draw(pairs: np.ndarray, **changes: object) -> dict[str, np.ndarray]:
    config = celeba_debug.get_config()
    config.update(changes)
    return drawn(MODEL, shown(pairs, pairs), config)


def shown(
    images: np.ndarray, inputs: np.ndarray, num_samples: int = 25, **others: Any
) -> sample_grids.Shown:
    return sample_grids.Shown(images, inputs, NOTHING, NOTHING[:num_samples], **others)


def drawn(
    vae: VAE, examples: sample_grids.Shown, config: ConfigDict
) -> dict[str, np.ndarray]:
    computed = sample_grids.compute_grids(
        vae,
        examples,
        seed=config.seed,
        num_traversals=config.num_picture_traversals,
        draws_reconstructions=config.reconstruction_draw == "sample",
    )
    return {name: draw_grid() for name, draw_grid in computed.items()}


def test_the_grids_have_the_published_layout() -> None:
    actual = draw(IMAGES[:25])
    assert {name: grid.shape for name, grid in actual.items()} == {
        "reconstruction": (5 * 32, 10 * 32, 3),
        "samples/sampled": (5 * 32, 5 * 32, 3),
        "samples/interpolated": (5 * 32, 5 * 32, 3),
        "latents/traversed": (5 * 32, 10 * 32, 3),
    }


def test_traversals_are_of_the_latents_that_say_most() -> None:
    mean, log_var = MODEL.encode(IMAGES[:25], NOTHING[:25])
    kl = losses.gaussian_kl_per_latent(mean, log_var).numpy().mean(axis=0)
    first, second, *_ = np.argsort(-kl)
    grid = draw(IMAGES[:25], num_picture_traversals=2)["latents/traversed"]
    assert grid.shape == (2 * 32, 10 * 32, 3)
    for row, latent in enumerate((first, second)):
        z = np.tile(mean.numpy()[:1], (10, 1))
        z[:, latent] = np.linspace(-3, 3, 10)
        expected = image_grid.tile(MODEL.mean_image(z, NOTHING[:10]).numpy(), 10)
        levels = grid[32 * row : 32 * (row + 1)].astype(int)
        np.testing.assert_allclose(levels, expected, atol=1)
    assert "latents/traversed" not in draw(IMAGES[:25], num_picture_traversals=0)
    assert draw(IMAGES[:25], num_picture_traversals=99)["latents/traversed"].shape == (
        CONFIG.latent_dim * 32,
        10 * 32,
        3,
    )


def test_originals_stand_before_their_reconstructions() -> None:
    grid = draw(IMAGES[:25])["reconstruction"]
    np.testing.assert_array_equal(grid[:32, :32], image_grid.tile(IMAGES[:1], 1))
    mean, _ = MODEL.encoder(IMAGES[:25])
    np.testing.assert_array_equal(
        grid[:32, 32:64], image_grid.tile(MODEL.decoder(mean).numpy()[:1], 1)
    )
    np.testing.assert_array_equal(
        grid[-32:, -64:-32], image_grid.tile(IMAGES[24:25], 1)
    )


def test_a_denoised_image_stands_beside_what_it_was_made_from() -> None:
    inputs = np.clip(IMAGES[:25] + 0.5, -1, 1)
    grid = drawn(MODEL, shown(IMAGES[:25], inputs), CONFIG)["reconstruction"]
    assert grid.shape == (5 * 32, 15 * 32, 3)
    mean, _ = MODEL.encoder(inputs)
    for column, images in enumerate((IMAGES, inputs, MODEL.decoder(mean).numpy())):
        cell = grid[:32, 32 * column : 32 * (column + 1)]
        np.testing.assert_array_equal(cell, image_grid.tile(images[:1], 1))


def test_few_images_make_a_small_grid() -> None:
    actual = draw(IMAGES[:2])
    assert actual["reconstruction"].shape == (32, 128, 3)


def test_samples_depend_on_the_seed_alone() -> None:
    first = draw(IMAGES[:25])
    again = draw(IMAGES[:3])
    other = draw(IMAGES[:25], seed=1)
    for name in ("samples/sampled", "samples/interpolated"):
        np.testing.assert_array_equal(first[name], again[name])
        assert (first[name] != other[name]).any()


def test_interpolation_is_linear_and_reaches_both_ends() -> None:
    start, end = np.array([0.0, 4.0]), np.array([2.0, 0.0])
    actual = sample_grids.interpolate(start, end, 5).tolist()
    assert actual == [[0, 4], [0.5, 3], [1, 2], [1.5, 1], [2, 0]]


def test_pictures_interpolate_to_the_bits_of_tensorflow() -> None:
    start, end = np.random.default_rng(0).normal(size=(2, 100)).astype(np.float32)
    actual = sample_grids.interpolate(start, end, 25, dtype=np.float32)
    share = tf.linspace(0.0, 1.0, 25)[:, tf.newaxis]
    assert actual.dtype == np.float32
    np.testing.assert_array_equal(actual, (1 - share) * start + share * end)


def test_paths_reach_both_ends() -> None:
    rng = np.random.default_rng(0)
    start, end = rng.normal(size=(2, 50))
    for spherical in (False, True):
        path = sample_grids.interpolate(start, end, 9, spherical=spherical)
        assert path.shape == (9, 50)
        np.testing.assert_allclose(path[[0, -1]], [start, end], atol=1e-12)
    chord = sample_grids.interpolate(start, end, 9, spherical=False)
    steps = np.tile((end - start) / 8, (8, 1))
    np.testing.assert_allclose(np.diff(chord, axis=0), steps, atol=1e-12)
    # A spherical path never comes closer to the origin than its closer end.
    lengths = np.linalg.norm(path, axis=1)
    ends = np.linalg.norm([start, end], axis=1)
    assert lengths.min() >= ends.min() - 1e-9
    assert np.linalg.norm(chord, axis=1).min() < 0.9 * ends.min()


def test_an_arc_along_one_line_is_its_chord() -> None:
    for end in ([2.0, 0.0], [-1.0, 0.0], [0.0, 0.0]):
        path = sample_grids.interpolate(
            np.array([1.0, 0.0]), np.array(end), 3, spherical=True
        )
        np.testing.assert_allclose(path[1], [(1 + end[0]) / 2, 0])
    with pytest.raises(
        ValueError, match="an interpolation needs at least 2 steps, not 1"
    ):
        sample_grids.interpolate(np.ones(2), np.ones(2), 1, spherical=False)


def test_reconstructions_may_be_drawn_and_samples_may_be_few() -> None:
    config = mnist_mlss.get_config()
    config.seed = 2
    vae = make_vae(config, (28, 28, 1))
    digits = np.where(IMAGES[:5, :28, :28, :1] > 0, 1, -1).astype(np.float32)
    actual = drawn(vae, shown(digits, digits, 10, scattered=(digits, NOTHING)), config)
    assert actual["reconstruction"].shape == (28, 10 * 28, 1)
    assert set(np.unique(actual["reconstruction"])) == {0, 255}
    assert actual["samples/sampled"].shape == (28, 10 * 28, 1)
    # Before training, every probability is about one half.
    assert np.abs(actual["samples/sampled"].astype(int) - 127).max() < 100
    assert actual["latents/scatter"].shape[-1] == 3


@pytest.mark.parametrize(("num", "columns"), [(1, 1), (10, 10), (16, 4), (25, 5)])
def test_samples_make_a_square_or_a_row(num: int, columns: int) -> None:
    assert sample_grids.num_columns(num) == columns


def test_a_strip_has_a_row_for_each_step() -> None:
    scatter = np.full([400, 400, 3], 200, np.uint8)
    digits = np.full([28, 280, 1], 50, np.uint8)
    actual = sample_grids.strip([[scatter, digits], [scatter, digits], [scatter]])
    assert actual.shape == (3 * 96, 96 + 960, 3)
    assert (actual[:192, :96] == 200).all()
    assert (actual[:192, 96:] == 50).all()
    assert (actual[192:, 96:] == 0).all()
