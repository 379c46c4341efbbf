import numpy as np
import pytest
from sklearn import decomposition

from trainer.analysis.latents import pca

RNG = np.random.default_rng(0)
SHAPE = (8, 6, 3)
SPECTRUM = 1.0 / np.arange(1, 145)
IMAGES = 0.3 + RNG.normal(size=(1_300, 144)) * SPECTRUM @ RNG.normal(size=(144, 144))
IMAGES = (IMAGES / 10).reshape(-1, *SHAPE).astype(np.float32)
LIBRARY = decomposition.PCA(10, svd_solver="full").fit(IMAGES.reshape(len(IMAGES), -1))


def batches(size: int) -> list[np.ndarray]:
    return [IMAGES[i : i + size] for i in range(0, len(IMAGES), size)]


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 64, 499, 500, 1_300])
def test_a_stream_gives_the_components_of_all_images_at_once(size: int) -> None:
    fitted = pca.fit_pca(batches(size), num_components=10)
    np.testing.assert_allclose(fitted.mean.ravel(), LIBRARY.mean_, atol=1e-6)
    cosines = np.abs(np.sum(fitted.components * LIBRARY.components_, axis=1))
    np.testing.assert_allclose(cosines, np.ones(10), atol=1e-3)


@pytest.mark.parametrize("size", [7, 500])
def test_the_error_is_that_of_the_library(size: int) -> None:
    fitted = pca.fit_pca(batches(size), num_components=10)
    actual = pca.reconstruction_error(fitted, batches(size))
    rows = IMAGES.reshape(len(IMAGES), -1)
    reconstructions = LIBRARY.inverse_transform(LIBRARY.transform(rows))
    assert actual.per_value == pytest.approx(
        np.mean((rows - reconstructions) ** 2), rel=1e-4
    )
    assert actual.per_value_levels == pytest.approx(127.5**2 * actual.per_value)


def test_components_are_orthonormal_and_decode_what_they_encode() -> None:
    fitted = pca.fit_pca(batches(100), num_components=10)
    np.testing.assert_allclose(
        fitted.components @ fitted.components.T, np.eye(10), atol=1e-5
    )
    z = fitted.encode(IMAGES[:5])
    assert z.shape == (5, 10)
    again = fitted.encode(fitted.reconstruct(IMAGES[:5]))
    np.testing.assert_allclose(again, z, atol=1e-4)


def test_images_of_low_rank_come_back_whole() -> None:
    rng = np.random.default_rng(1)
    images = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 144)) + 0.5
    images = images.reshape(-1, *SHAPE)
    fitted = pca.fit_pca([images], num_components=5)
    error = pca.reconstruction_error(fitted, [images])
    assert error.per_value == pytest.approx(0, abs=1e-10)


def test_as_many_components_as_images_are_enough() -> None:
    fitted = pca.fit_pca([IMAGES[:4]], num_components=4)
    error = pca.reconstruction_error(fitted, [IMAGES[:4]])
    assert error.per_value == pytest.approx(0, abs=1e-10)


def test_a_fit_refuses_what_it_cannot_use() -> None:
    with pytest.raises(ValueError, match="num_components=0 must be positive"):
        pca.fit_pca([IMAGES], num_components=0)
    with pytest.raises(ValueError, match="4 components need .* images, not 3"):
        pca.fit_pca([IMAGES[:3]], num_components=4)
    with pytest.raises(ValueError, match="need at least as many images, not 0"):
        pca.fit_pca([], num_components=4)
    with pytest.raises(ValueError, match=r"a batch of images of shape \(8, 6, 3\)"):
        pca.fit_pca([IMAGES[:3], IMAGES[:3, :4]], num_components=1)


def test_other_shapes_and_no_images_are_refused() -> None:
    fitted = pca.fit_pca([IMAGES[:50]], num_components=2)
    for call in (fitted.encode, fitted.reconstruct):
        with pytest.raises(ValueError, match=r"a batch of images of shape \(8, 6, 3\)"):
            call(IMAGES[:3, :4])
    with pytest.raises(ValueError, match=r"a batch of images of shape \(8, 6, 3\)"):
        pca.reconstruction_error(fitted, [IMAGES[0]])
    with pytest.raises(ValueError, match="there is no image"):
        pca.reconstruction_error(fitted, [])
