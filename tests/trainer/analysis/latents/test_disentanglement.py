import dataclasses
import math

import numpy as np
import pytest

from trainer.analysis.latents import disentanglement
from trainer.analysis.latents.disentanglement import (
    dci,
    mutual_information_gap,
    separated_attribute_predictability,
)

METRICS = [mutual_information_gap, separated_attribute_predictability, dci]

RNG = np.random.default_rng(0)
NUM_EXAMPLES = 1_500
FACTORS = np.stack(
    [
        RNG.uniform(size=NUM_EXAMPLES),
        RNG.integers(2, size=NUM_EXAMPLES),
        RNG.normal(size=NUM_EXAMPLES),
        RNG.integers(4, size=NUM_EXAMPLES),
    ],
    axis=1,
)
IS_CATEGORICAL = np.array([False, True, False, True])
STANDARD = (FACTORS - FACTORS.mean(axis=0)) / FACTORS.std(axis=0)
NOISE = RNG.normal(size=(NUM_EXAMPLES, 6))

PERMUTED = NOISE.copy()
PERMUTED[:, [4, 0, 5, 2]] = STANDARD + 0.01 * NOISE[:, :4]
ROTATED = STANDARD @ np.linalg.qr(RNG.normal(size=(4, 4)))[0] + 0.01 * NOISE[:, :4]


def main_score(result: disentanglement.FactorGaps | disentanglement.Dci) -> float:
    if isinstance(result, disentanglement.Dci):
        return result.disentanglement
    return result.score


def has_nan(result: disentanglement.FactorGaps | disentanglement.Dci) -> bool:
    return any(np.isnan(v).any() for v in dataclasses.asdict(result).values())


def test_a_permutation_of_the_factors_scores_high() -> None:
    mig = mutual_information_gap(PERMUTED, FACTORS, IS_CATEGORICAL)
    assert mig.score > 0.85
    assert mig.matrix.argmax(axis=0).tolist() == [4, 0, 5, 2]
    sap = separated_attribute_predictability(PERMUTED, FACTORS, IS_CATEGORICAL)
    # The runner-up latent predicts the two categories by chance, at 1/2 and 1/4.
    np.testing.assert_allclose(sap.gaps, [1, 0.5, 1, 0.75], atol=0.05)
    scores = dci(PERMUTED, FACTORS, IS_CATEGORICAL)
    assert scores.disentanglement > 0.95
    assert scores.completeness > 0.95
    assert scores.informativeness > 0.95
    assert scores.importances.argmax(axis=0).tolist() == [4, 0, 5, 2]


@pytest.mark.parametrize("metric", METRICS)
def test_a_rotation_of_the_factors_scores_much_lower(metric) -> None:
    permuted = main_score(metric(PERMUTED, FACTORS, IS_CATEGORICAL))
    rotated = main_score(metric(ROTATED, FACTORS, IS_CATEGORICAL))
    assert rotated < 0.5 * permuted


@pytest.mark.parametrize("metric", METRICS)
def test_noise_scores_almost_nothing(metric) -> None:
    assert 0 <= main_score(metric(NOISE, FACTORS, IS_CATEGORICAL)) < 0.06


def test_noise_informs_of_nothing() -> None:
    scores = dci(NOISE, FACTORS, IS_CATEGORICAL)
    np.testing.assert_allclose(
        scores.informativeness_by_factor, [0, 1 / 2, 0, 1 / 4], atol=0.1
    )


@pytest.mark.parametrize("metric", METRICS)
def test_a_latent_that_never_moves_says_nothing(metric) -> None:
    latents = PERMUTED.copy()
    latents[:, 1] = 0.1
    result = metric(latents, FACTORS, IS_CATEGORICAL)
    assert not has_nan(result)
    expected = main_score(metric(PERMUTED, FACTORS, IS_CATEGORICAL))
    assert main_score(result) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("metric", METRICS)
def test_latents_that_never_move_score_nothing(metric) -> None:
    result = metric(np.full([200, 3], 0.1), FACTORS[:200], IS_CATEGORICAL)
    assert not has_nan(result)
    assert main_score(result) == 0


def test_two_latents_that_share_a_factor_have_no_gap() -> None:
    twice = np.concatenate([PERMUTED, PERMUTED], axis=1)
    for metric in (mutual_information_gap, separated_attribute_predictability):
        assert metric(twice, FACTORS, IS_CATEGORICAL).score == 0
    scores = dci(twice, FACTORS, IS_CATEGORICAL)
    assert scores.disentanglement > 0.95
    # Two latents share a factor, with entropy log 2. The maximum of twelve latents is
    # log 12.
    assert scores.completeness == pytest.approx(1 - math.log(2) / math.log(12), abs=0.1)


def test_the_information_of_a_noisy_copy_is_that_of_its_channel() -> None:
    """A channel that flips a bit one time in four has I = ln 2 - H(1/4)."""
    bits = np.arange(1_000) % 2
    flipped = np.where(np.arange(1_000) // 2 % 4 == 0, 1 - bits, bits)
    latents = np.stack([flipped, np.zeros(1_000)], axis=1)
    actual = mutual_information_gap(latents, bits[:, None], np.array([True])).score
    entropy = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert actual == pytest.approx(1 - entropy)


def test_r2_is_the_squared_correlation() -> None:
    sap = separated_attribute_predictability(ROTATED, FACTORS, np.zeros(4, bool))
    expected = np.corrcoef(ROTATED.T, FACTORS.T)[:4, 4:] ** 2
    np.testing.assert_allclose(sap.matrix, expected, atol=1e-12)


def test_categories_are_names_not_numbers() -> None:
    renamed = FACTORS.copy()
    renamed[:, 3] = np.array([7.0, -2.0, 100.0, 0.5])[FACTORS[:, 3].astype(int)]
    for metric in (mutual_information_gap, separated_attribute_predictability):
        np.testing.assert_allclose(
            metric(PERMUTED, renamed, IS_CATEGORICAL).score,
            metric(PERMUTED, FACTORS, IS_CATEGORICAL).score,
            atol=1e-3,
        )


def test_dci_depends_on_the_seed_alone() -> None:
    first, again, other = (
        dci(ROTATED, FACTORS, IS_CATEGORICAL, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.importances, again.importances)
    assert (first.importances != other.importances).any()


@pytest.mark.parametrize("metric", METRICS)
def test_what_cannot_be_judged_is_refused(metric) -> None:
    for latents, factors, is_categorical in (
        (PERMUTED[:, 0], FACTORS, IS_CATEGORICAL),
        (PERMUTED[:-1], FACTORS, IS_CATEGORICAL),
        (PERMUTED, FACTORS[:, 0], IS_CATEGORICAL),
        (PERMUTED, FACTORS, IS_CATEGORICAL[:-1]),
        (PERMUTED, FACTORS[:, :0], IS_CATEGORICAL[:0]),
    ):
        with pytest.raises(ValueError, match=r"must be \[n, d\], \[n, f\] and \[f\]"):
            metric(latents, factors, is_categorical)
    with pytest.raises(ValueError, match="99 examples are too few"):
        metric(PERMUTED[:99], FACTORS[:99], IS_CATEGORICAL)
    with pytest.raises(ValueError, match="need at least 2 latents, not 1"):
        metric(PERMUTED[:, :1], FACTORS, IS_CATEGORICAL)
    with pytest.raises(ValueError, match="must be finite"):
        metric(np.where(PERMUTED > 3, np.nan, PERMUTED), FACTORS, IS_CATEGORICAL)
    constant = FACTORS.copy()
    constant[:, 2] = 4.5
    with pytest.raises(ValueError, match=r"column 2 of factors has one value, 4\.5"):
        metric(PERMUTED, constant, IS_CATEGORICAL)


def test_dci_needs_two_factors() -> None:
    with pytest.raises(ValueError, match="at least 2 factors, not 1"):
        dci(PERMUTED, FACTORS[:, :1], IS_CATEGORICAL[:1])
