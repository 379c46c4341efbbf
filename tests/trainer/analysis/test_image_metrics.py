import math

import numpy as np
import pytest
import tensorflow as tf

from trainer.analysis import image_metrics

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(-1, 1, (3, 20, 24, 3)).astype(np.float32)
OTHERS = np.clip(IMAGES + RNG.normal(0, 0.2, IMAGES.shape), -1, 1).astype(np.float32)
LEVELS, OTHER_LEVELS = (IMAGES + 1) * 127.5, (OTHERS + 1) * 127.5


def test_the_error_is_in_squared_levels() -> None:
    np.testing.assert_allclose(
        image_metrics.mean_squared_error_levels(IMAGES, OTHERS),
        np.mean((LEVELS - OTHER_LEVELS) ** 2, axis=(1, 2, 3)),
        rtol=1e-5,
    )


def test_one_level_off_is_an_error_of_one() -> None:
    images = np.zeros([2, 4, 4, 1])
    actual = image_metrics.mean_squared_error_levels(images, images + 1 / 127.5)
    np.testing.assert_allclose(actual, [1.0, 1.0])


def test_psnr_is_that_of_tensorflow() -> None:
    np.testing.assert_allclose(
        image_metrics.psnr_db(IMAGES, OTHERS),
        tf.image.psnr(LEVELS, OTHER_LEVELS, max_val=255),
        rtol=1e-5,
    )


def test_equal_images_have_infinite_psnr() -> None:
    assert image_metrics.psnr_db(IMAGES, IMAGES).tolist() == [math.inf] * 3


@pytest.mark.parametrize("size", [(11, 11), (11, 30), (20, 24)])
@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_that_of_tensorflow(size: tuple[int, int], channels: int) -> None:
    height, width = size
    rng = np.random.default_rng(1)
    images = rng.uniform(-1, 1, (4, height, width, channels)).astype(np.float32)
    others = images + rng.normal(0, 0.3, images.shape).astype(np.float32)
    expected = tf.image.ssim((images + 1) * 127.5, (others + 1) * 127.5, max_val=255)
    np.testing.assert_allclose(image_metrics.ssim(images, others), expected, atol=1e-5)


def test_ssim_falls_as_noise_grows() -> None:
    noise = np.random.default_rng(2).normal(size=IMAGES.shape)
    scores = [
        image_metrics.ssim(IMAGES, IMAGES + s * noise).mean() for s in (0, 0.1, 1)
    ]
    assert scores[0] == pytest.approx(1)
    assert scores[0] > scores[1] > scores[2]


def test_ssim_of_two_flat_images_is_the_term_of_their_means() -> None:
    dark, bright = np.full([1, 12, 12, 1], -0.5), np.full([1, 12, 12, 1], 0.5)
    x, y, c1 = 63.75, 191.25, 2.55**2
    expected = (2 * x * y + c1) / (x**2 + y**2 + c1)
    assert image_metrics.ssim(dark, bright)[0] == pytest.approx(expected)


def test_ssim_refuses_images_smaller_than_its_window() -> None:
    small = np.zeros([1, 10, 64, 3])
    with pytest.raises(ValueError, match="10 x 64 are smaller than the window"):
        image_metrics.ssim(small, small)


@pytest.mark.parametrize(
    "metric",
    [
        image_metrics.mean_squared_error_levels,
        image_metrics.psnr_db,
        image_metrics.ssim,
    ],
)
def test_image_metrics_refuse_shapes_that_differ_and_take_no_images(metric) -> None:
    with pytest.raises(ValueError, match=r"must both be \[n, h, w, c\]"):
        metric(IMAGES, OTHERS[:, :-1])
    with pytest.raises(ValueError, match=r"must both be \[n, h, w, c\]"):
        metric(IMAGES[0], OTHERS[0])
    assert metric(IMAGES[:0], OTHERS[:0]).shape == (0,)


def test_bits_of_a_uniform_density_are_those_of_255_levels() -> None:
    """A uniform density over [-1, 1] is 1/2 per value and 1/255 per level."""
    actual = image_metrics.bits_per_dim(
        np.array([6 * math.log(2)]), 6, is_discrete=False
    )
    np.testing.assert_allclose(actual, [math.log2(255)])


def test_bits_of_a_density_and_of_levels_differ_by_the_jacobian() -> None:
    nll = np.array([[-3.0, 0.0, 100.0]])
    density = image_metrics.bits_per_dim(nll, 12, is_discrete=False)
    levels = image_metrics.bits_per_dim(nll, 12, is_discrete=True)
    np.testing.assert_allclose(levels, nll / (12 * math.log(2)))
    np.testing.assert_allclose(density - levels, np.full([1, 3], math.log2(127.5)))


def test_a_narrow_density_costs_as_many_bits_as_the_levels_that_it_spans() -> None:
    """A density that is uniform over eight levels needs three bits."""
    nll = 5 * math.log(8 / 127.5)
    actual = image_metrics.bits_per_dim(np.float64(nll), 5, is_discrete=False)
    assert actual == pytest.approx(3)


def test_bits_need_values() -> None:
    with pytest.raises(ValueError, match="num_values=0 must be positive"):
        image_metrics.bits_per_dim(np.zeros(1), 0, is_discrete=True)


def test_log_mean_exp_is_the_plain_formula_where_that_holds() -> None:
    log_weights = np.random.default_rng(3).normal(size=(5, 7))
    for axis in (0, 1, -1):
        np.testing.assert_allclose(
            image_metrics.log_mean_exp(log_weights, axis=axis),
            np.log(np.mean(np.exp(log_weights), axis=axis)),
        )


@pytest.mark.parametrize(
    ("log_weights", "expected"),
    [
        ([1e5, 1e5 - 800], 1e5 - math.log(2)),
        ([-1e5, -1e5], -1e5),
        ([0.0, -math.inf], -math.log(2)),
        ([-math.inf, -math.inf], -math.inf),
        ([0.0, math.inf], math.inf),
        ([3.0], 3.0),
    ],
)
def test_log_mean_exp_at_the_edges(log_weights: list[float], expected: float) -> None:
    actual = image_metrics.log_mean_exp(np.array(log_weights), axis=0)
    assert actual == pytest.approx(expected)


def test_log_mean_exp_needs_terms() -> None:
    with pytest.raises(ValueError, match="is empty"):
        image_metrics.log_mean_exp(np.zeros([3, 0]), axis=1)
