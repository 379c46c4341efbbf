import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.metrics import balanced_accuracy_score, mutual_info_score
from sklearn.svm import LinearSVC

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


def test_the_information_is_that_of_the_library() -> None:
    """Histograms of 20 bins from the least to the greatest value."""
    factors, latents = FACTORS[:300], ROTATED[:300]
    binned = [
        np.digitize(values, np.linspace(values.min(), values.max(), 21)[1:-1])
        for values in (*latents.T, factors[:, 0], factors[:, 2])
    ]
    codes = [binned[4], factors[:, 1], binned[5], factors[:, 3]]
    actual = mutual_information_gap(latents, factors, IS_CATEGORICAL)
    expected = [
        [
            mutual_info_score(bins, code) / mutual_info_score(code, code)
            for code in codes
        ]
        for bins in binned[:4]
    ]
    np.testing.assert_allclose(actual.matrix, expected, rtol=1e-9)


def test_information_is_not_negative() -> None:
    for num in range(100, 140):
        latents = np.stack([np.zeros(num), np.ones(num)], axis=1)
        actual = mutual_information_gap(latents, FACTORS[:num], IS_CATEGORICAL)
        assert actual.matrix.min() >= 0


def test_dci_is_that_of_the_librarys_forests() -> None:
    """30 trees with leaves of 10 examples; a fifth of the examples is held out."""
    latents, factors = ROTATED[:400, :3], FACTORS[:400, :2]
    factors = factors * [1, 5] + [0, 2]
    actual = dci(latents, factors, IS_CATEGORICAL[:2])
    order = np.random.default_rng(0).permutation(400)
    test, train = order[:80], order[80:]
    options = {"max_features": 1.0, "min_samples_leaf": 10, "random_state": 0}
    forests = (
        ExtraTreesRegressor(30, **options).fit(latents[train], factors[train, 0]),
        ExtraTreesClassifier(30, **options).fit(
            latents[train], (factors[train, 1] > 2).astype(int)
        ),
    )
    expected = np.stack([one.feature_importances_ for one in forests], axis=1)
    np.testing.assert_allclose(actual.importances, expected, rtol=1e-9)
    scores = [
        forests[0].score(latents[test], factors[test, 0]),
        forests[1].score(latents[test], factors[test, 1] > 2),
    ]
    assert actual.informativeness_by_factor.tolist() == pytest.approx(scores)
    rows = expected / expected.sum(axis=1, keepdims=True)
    by_latent = 1 - entropy(rows, base=2, axis=1)
    weights = expected.sum(axis=1) / 2
    assert actual.disentanglement == pytest.approx(weights @ by_latent)
    by_factor = 1 - entropy(expected, base=3, axis=0)
    assert actual.completeness == pytest.approx(by_factor.mean())


def test_a_category_is_predicted_as_the_librarys_machine_does() -> None:
    latents = ROTATED[:400]
    codes = FACTORS[:400, 3].astype(int)
    sap = separated_attribute_predictability(latents, FACTORS[:400], IS_CATEGORICAL)
    standard = (latents - latents.mean(axis=0)) / latents.std(axis=0)
    for j in range(4):
        machine = LinearSVC(C=0.01, class_weight="balanced", dual=False)
        machine.fit(standard[:, [j]], codes)
        expected = balanced_accuracy_score(codes, machine.predict(standard[:, [j]]))
        assert sap.matrix[j, 3] == pytest.approx(expected)


@pytest.mark.parametrize("metric", METRICS)
def test_a_hundred_examples_of_two_factors_are_enough(metric) -> None:
    result = metric(PERMUTED[:100], FACTORS[:100, :2], IS_CATEGORICAL[:2])
    assert not has_nan(result)


def test_importances_of_nothing_are_not_complete() -> None:
    scores = dci(np.full([200, 3], 0.1), FACTORS[:200], IS_CATEGORICAL)
    assert scores.completeness == 0
    # One latent, which predicts nothing, beside one that predicts everything.
    latents = np.stack([np.zeros(200), FACTORS[:200, 0]], axis=1)
    with np.errstate(all="raise"):
        scores = dci(latents, FACTORS[:200, [0, 0]], np.zeros(2, bool))
    assert scores.completeness == pytest.approx(1)
    assert scores.disentanglement == pytest.approx(0)


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
