import os
import pathlib

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from trainer.analysis.latents import mixture

RNG = np.random.default_rng(0)
PLANTED = mixture.Mixture(
    weights=np.array([0.3, 0.7]),
    means=np.array([[-4.0, 0.0, 1.0], [3.0, 2.0, 0.0]]),
    covariances=np.stack(
        [np.diag([1.0, 0.5, 2.0]), np.array([[1, 0.6, 0], [0.6, 1, 0], [0, 0, 0.3]])]
    ),
)


def test_draws_have_the_moments_of_the_mixture() -> None:
    draws = PLANTED.sample(40_000, seed=1)
    assert draws.shape == (40_000, 3)
    assert draws.dtype == np.float32
    is_first = draws[:, 0] < -0.5
    assert is_first.mean() == pytest.approx(0.3, abs=0.01)
    for part, c in ((draws[is_first], 0), (draws[~is_first], 1)):
        np.testing.assert_allclose(part.mean(axis=0), PLANTED.means[c], atol=0.05)
        np.testing.assert_allclose(np.cov(part.T), PLANTED.covariances[c], atol=0.06)


def test_weights_may_be_rounded() -> None:
    weights = np.array([0.5, 0.5 + 5e-7])
    rounded = mixture.Mixture(weights, np.zeros([2, 2]), np.stack([np.eye(2)] * 2))
    assert rounded.sample(9, seed=0).shape == (9, 2)


def test_a_fit_to_draws_finds_the_mixture_again() -> None:
    actual = mixture.fit(PLANTED.sample(20_000, seed=2), num_components=2)
    order = actual.weights.argsort()
    np.testing.assert_allclose(actual.weights[order], PLANTED.weights, atol=0.01)
    np.testing.assert_allclose(actual.means[order], PLANTED.means, atol=0.06)
    np.testing.assert_allclose(actual.covariances[order], PLANTED.covariances, atol=0.1)


@pytest.mark.parametrize("num_components", [1, 2])
def test_two_latents_are_enough_for_a_fit(num_components: int) -> None:
    actual = mixture.fit(np.array([[0.0, 1.0], [4.0, 3.0]]), num_components)
    assert actual.weights @ actual.means == pytest.approx([2, 2])


def test_the_density_is_that_of_the_library() -> None:
    latents = PLANTED.sample(500, seed=3)
    fitted = GaussianMixture(2, random_state=0).fit(latents.astype(np.float64))
    ours = mixture.Mixture(fitted.weights_, fitted.means_, fitted.covariances_)
    np.testing.assert_allclose(
        ours.log_density(latents), fitted.score_samples(latents.astype(np.float64))
    )


def test_the_density_of_the_prior_is_closed() -> None:
    prior = mixture.Mixture(np.ones(1), np.zeros([1, 4]), np.eye(4)[None])
    z = RNG.normal(size=(10, 4))
    expected = -0.5 * np.sum(z**2, axis=1) - 2 * np.log(2 * np.pi)
    np.testing.assert_allclose(prior.log_density(z), expected)
    assert prior.log_density(z[:0]).shape == (0,)
    assert np.isfinite(prior.log_density(np.full([1, 4], 1e4))).all()


def test_draws_and_fits_depend_on_the_seed_alone() -> None:
    latents = PLANTED.sample(200, seed=4)
    np.testing.assert_array_equal(latents, PLANTED.sample(200, seed=4))
    assert (latents != PLANTED.sample(200, seed=5)).any()
    assert PLANTED.sample(0, seed=4).shape == (0, 3)
    first, again = (mixture.fit(latents, num_components=2, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first.means, again.means)
    default, zero = (mixture.fit(latents, 9, **given) for given in ({}, {"seed": 0}))
    np.testing.assert_array_equal(default.means, zero.means)
    assert (default.means != mixture.fit(latents, 9, seed=1).means).any()


def test_a_latent_that_never_moves_does_not_stop_a_fit() -> None:
    latents = PLANTED.sample(200, seed=6)
    latents[:, 1] = 0.1
    actual = mixture.fit(latents, num_components=2)
    np.testing.assert_allclose(actual.sample(50, seed=0)[:, 1], 0.1, atol=0.01)


def test_a_file_gives_the_mixture_back(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "mixture.npz"
    PLANTED.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["mixture.npz"]
    actual = mixture.load(path)
    for name, value in vars(PLANTED).items():
        np.testing.assert_array_equal(getattr(actual, name), value)


def test_other_files_are_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "other.npz"
    with pytest.raises(FileNotFoundError, match=r"other\.npz"):
        mixture.load(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"other\.npz does not hold a mixture"):
        mixture.load(path)
    path.write_bytes(b"PK\3\4 cut off")
    with pytest.raises(ValueError, match=r"other\.npz does not hold a mixture"):
        mixture.load(path)
    np.savez(path, weights=np.ones(1))
    with pytest.raises(ValueError, match=r"does not hold a mixture: .*means"):
        mixture.load(path)
    objects = np.array([_Harmful(tmp_path / "harm")], dtype=object)
    np.savez(path, weights=objects, means=objects, covariances=objects)
    with pytest.raises(ValueError, match="does not hold a mixture"):
        mixture.load(path)
    assert not (tmp_path / "harm").exists()


class _Harmful:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self._folder),)


def test_what_is_not_a_mixture_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \[k\], \[k, d\] and \[k, d, d\]"):
        mixture.Mixture(np.ones(1), np.zeros([1, 2]), np.eye(3)[None])
    for weights in ([1, 1], [0, 1], [-0.5, 1.5], [0.5, 0.5 + 2e-6]):
        with pytest.raises(ValueError, match="must be positive and sum to 1"):
            mixture.Mixture(
                np.array(weights), np.zeros([2, 2]), np.stack([np.eye(2)] * 2)
            )
    with pytest.raises(ValueError, match="must be positive definite"):
        mixture.Mixture(np.ones(1), np.zeros([1, 2]), -np.eye(2)[None])


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \[n, d\] and finite"):
        mixture.fit(np.zeros(3), num_components=1)
    with pytest.raises(ValueError, match=r"must be \[n, d\] and finite"):
        mixture.fit(np.full([3, 2], np.nan), num_components=1)
    for num_components in (0, 4):
        with pytest.raises(ValueError, match="from 1 to the number of latents, 3"):
            mixture.fit(np.zeros([3, 2]), num_components=num_components)
    with pytest.raises(ValueError, match="at least 2 latents to fit, not 1"):
        mixture.fit(np.zeros([1, 2]), num_components=1)
    with pytest.raises(ValueError, match=r"must be \[n, 3\]"):
        PLANTED.log_density(np.zeros([5, 2]))
