"""Whether each latent stands for one known factor: MIG, DCI and SAP.

    n  examples        d  latents        f  factors

Latents are posterior means, `[n, d]`. Factors are numbers, `[n, f]`. `is_categorical`,
`[f]` bool, marks the factors that are categories: their values are compared only for
equality.
"""

import dataclasses

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.svm import LinearSVC

NUM_BINS = 20
MIN_EXAMPLES = 100

# Extremely randomised trees are as accurate here as a random forest, and take a sixth
# of the time. Boosted trees are slower still (10,000 examples, 100 latents).
_NUM_TREES = 30
_MIN_LEAF_EXAMPLES = 10
_TEST_FRACTION = 0.2


@dataclasses.dataclass(frozen=True)
class FactorGaps:
    """Gap between the best and the second best latent of each factor.

    Attributes:
        score: Mean of `gaps`: 1 where every factor has a latent of its own, 0 where two
            latents share each factor or no latent carries it.
        gaps: `[f]`, best minus second best value of each column of `matrix`.
        matrix: `[d, f]`, strength of the relation between each latent and each factor.
    """

    score: float
    gaps: np.ndarray
    matrix: np.ndarray


@dataclasses.dataclass(frozen=True)
class Dci:
    """Disentanglement, completeness, informativeness.

    Attributes:
        disentanglement: From 0 to 1; 1 where each latent predicts a single factor.
        completeness: From 0 to 1; 1 where a single latent predicts each factor.
        informativeness: Mean of `informativeness_by_factor`.
        informativeness_by_factor: `[f]` on held-out examples: R^2 of a continuous
            factor, accuracy of a categorical factor.
        importances: `[d, f]`, not negative. A column sums to 1, or to 0 if the forest
            could learn nothing.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    informativeness_by_factor: np.ndarray
    importances: np.ndarray


def mutual_information_gap(
    latents: np.ndarray, factors: np.ndarray, is_categorical: np.ndarray
) -> FactorGaps:
    """Returns the mutual information gap (MIG).

        gap_k = (I(z_best; v_k) - I(z_second; v_k)) / H(v_k)

    Histograms estimate the information. Latents and continuous factors fall into 20
    bins of equal width from their least to their greatest value; each category is a
    bin. For independent variables, the estimate is too high by about
    (bins - 1)^2 / (2 n) nats.

    Args:
        latents: `[n, d]` with d >= 2.
        factors: `[n, f]`.
        is_categorical: `[f]` bool.

    Returns:
        The gaps; `matrix` is I(z_j; v_k) / H(v_k), without a unit.

    Raises:
        ValueError: If shapes do not match, examples or latents are too few, a value is
            not finite, or a factor has one value.

    Source:
        Chen, Li, Grosse and Duvenaud, "Isolating Sources of Disentanglement in VAEs"
        (2018), equation 6; 20 bins as in Locatello et al. (2019).

    Example:
        >>> factors = np.arange(400).reshape(400, 1) % np.array([4, 5])
        >>> mig = mutual_information_gap(factors[:, ::-1], factors, np.ones(2, bool))
        >>> round(mig.score, 6)
        1.0
    """
    _check(latents, factors, is_categorical)
    latent_bins = [_bins(latent) for latent in latents.T]
    information = np.zeros([latents.shape[1], factors.shape[1]])
    for k, factor in enumerate(factors.T):
        codes = _categories(factor) if is_categorical[k] else _bins(factor)
        entropy = _entropy(np.bincount(codes))
        for j, bins in enumerate(latent_bins):
            joint = np.bincount(bins * (codes.max() + 1) + codes)
            mutual = _entropy(np.bincount(bins)) + entropy - _entropy(joint)
            # Rounding can make `mutual` negative, by a few 1e-16.
            information[j, k] = max(0.0, mutual) / entropy
    return _gaps(information)


def separated_attribute_predictability(
    latents: np.ndarray, factors: np.ndarray, is_categorical: np.ndarray
) -> FactorGaps:
    """Returns the separated attribute predictability (SAP).

    A factor is predicted from each latent alone. SAP is the gap between the scores of
    the two best latents. Linear regression predicts a continuous factor; its score is
    R^2, the squared correlation. A linear support vector machine with balanced classes
    predicts a categorical factor; its score is balanced accuracy. As in the source, the
    scores are on the examples of the fit, because a slope and an intercept cannot
    overfit.

    Args:
        latents: `[n, d]` with d >= 2.
        factors: `[n, f]`.
        is_categorical: `[f]` bool.

    Returns:
        The gaps; `matrix` is R^2 or balanced accuracy. The chance level of balanced
        accuracy is one over the number of classes, so the gap of a categorical factor
        can hardly exceed 1 - chance.

    Raises:
        ValueError: As for `mutual_information_gap`.

    Source:
        Kumar, Sattigeri and Balakrishnan, "Variational Inference of Disentangled Latent
        Concepts from Unlabeled Observations" (2018), section 3.

    Example:
        >>> factors = np.random.default_rng(0).normal(size=(200, 2))
        >>> is_categorical = np.zeros(2, bool)
        >>> sap = separated_attribute_predictability(factors, factors, is_categorical)
        >>> sap.matrix.diagonal().round(6).tolist()
        [1.0, 1.0]
    """
    _check(latents, factors, is_categorical)
    standard = _standardised(latents)
    scores = (standard.T @ _standardised(factors) / len(latents)) ** 2
    for k in np.flatnonzero(is_categorical):
        codes = _categories(factors[:, k])
        for j in range(latents.shape[1]):
            scores[j, k] = _balanced_accuracy_of_thresholds(standard[:, [j]], codes)
    return _gaps(scores)


def dci(
    latents: np.ndarray,
    factors: np.ndarray,
    is_categorical: np.ndarray,
    seed: int = 0,
) -> Dci:
    """Returns disentanglement, completeness and informativeness (DCI).

    A forest of extremely randomised trees predicts each factor from all latents. Its
    importances (each latent's share of the decrease in variance or Gini impurity) are a
    column of R, `[d, f]`. H is the entropy of a row in base f, or of a column in base
    d, after the row or column is scaled to sum to 1:

        disentanglement = sum_j w_j (1 - H(R_j.)),  w_j = sum_k R_jk / sum R
        completeness    = 1/f sum_k (1 - H(R_.k))

    A factor that no latent predicts still gets importances, from noise. So read
    disentanglement and completeness together with informativeness.

    Args:
        latents: `[n, d]` with d >= 2.
        factors: `[n, f]` with f >= 2.
        is_categorical: `[f]` bool.
        seed: Seed of the trees, and of the choice of the held-out fifth of the
            examples.

    Raises:
        ValueError: As for `mutual_information_gap`, or if there is one factor only.

    Source:
        Eastwood and Williams, "A Framework for the Quantitative Evaluation of
        Disentangled Representations" (2018), section 2.

    Example:
        >>> factors = np.random.default_rng(0).uniform(size=(500, 2))
        >>> scores = dci(factors, factors, np.zeros(2, bool))
        >>> scores.disentanglement > 0.9, scores.informativeness > 0.9
        (True, True)
    """
    _check(latents, factors, is_categorical)
    if factors.shape[1] < 2:
        raise ValueError("DCI needs at least 2 factors, not 1")
    order = np.random.default_rng(seed).permutation(len(latents))
    test, train = np.split(order, [round(_TEST_FRACTION * len(order))])
    importances = np.zeros([latents.shape[1], factors.shape[1]])
    informativeness = np.zeros(factors.shape[1])
    for k, factor in enumerate(factors.T):
        forest_class = (
            ExtraTreesClassifier if is_categorical[k] else ExtraTreesRegressor
        )
        forest = forest_class(
            _NUM_TREES,
            max_features=1.0,
            min_samples_leaf=_MIN_LEAF_EXAMPLES,
            random_state=seed,
        )
        target = _categories(factor) if is_categorical[k] else factor
        forest.fit(latents[train], target[train])
        importances[:, k] = forest.feature_importances_
        informativeness[k] = forest.score(latents[test], target[test])
    weights = importances.sum(axis=1) / max(importances.sum(), 1e-12)
    return Dci(
        disentanglement=float(weights @ _concentration(importances)),
        completeness=float(np.mean(_concentration(importances.T))),
        informativeness=float(np.mean(informativeness)),
        informativeness_by_factor=informativeness,
        importances=importances,
    )


def _check(
    latents: np.ndarray, factors: np.ndarray, is_categorical: np.ndarray
) -> None:
    if (
        latents.ndim != 2
        or factors.ndim != 2
        or len(latents) != len(factors)
        or np.shape(is_categorical) != factors.shape[1:]
        or not factors.shape[1]
    ):
        raise ValueError(
            f"latents {latents.shape}, factors {factors.shape} and is_categorical "
            f"{np.shape(is_categorical)} must be [n, d], [n, f] and [f]"
        )
    if len(latents) < MIN_EXAMPLES:
        raise ValueError(
            f"{len(latents)} examples are too few to score latents against factors: "
            f"at least {MIN_EXAMPLES} are needed"
        )
    if latents.shape[1] < 2:
        raise ValueError("scores against factors need at least 2 latents, not 1")
    if not (np.isfinite(latents).all() and np.isfinite(factors).all()):
        raise ValueError("latents and factors must be finite")
    for k in np.flatnonzero(np.ptp(factors, axis=0) == 0):
        raise ValueError(
            f"column {k} of factors has one value, {factors[0, k]}, in all "
            f"{len(factors)} examples: leave this column out"
        )


def _gaps(matrix: np.ndarray) -> FactorGaps:
    second, best = np.sort(matrix, axis=0)[-2:]
    gaps = best - second
    return FactorGaps(score=float(np.mean(gaps)), gaps=gaps, matrix=matrix)


def _categories(factor: np.ndarray) -> np.ndarray:
    """Returns the index of each value among the sorted distinct values, `[n]` int."""
    return np.unique(factor, return_inverse=True)[1]


def _bins(values: np.ndarray) -> np.ndarray:
    """Returns the bin of each value, `[n]` int; all 0 for a constant."""
    low, width = values.min(), np.ptp(values)
    places = (values - low) / (width or 1.0) * NUM_BINS
    return np.minimum(places.astype(np.int64), NUM_BINS - 1)


def _entropy(counts: np.ndarray) -> float:
    """Returns the entropy of a histogram in nats."""
    shares = counts[counts > 0] / counts.sum()
    return -float(np.sum(shares * np.log(shares)))


def _standardised(values: np.ndarray) -> np.ndarray:
    """Returns columns with mean 0 and variance 1; zeros for a constant."""
    values = values.astype(np.float64)
    # Rounding may make the mean of a constant column differ from the constant.
    is_constant = np.ptp(values, axis=0) == 0
    centred = np.where(is_constant, 0.0, values - values.mean(axis=0))
    return centred / np.where(is_constant, 1.0, centred.std(axis=0))


def _balanced_accuracy_of_thresholds(latent: np.ndarray, codes: np.ndarray) -> float:
    """Returns the mean recall over classes of a linear classifier on one latent."""
    machine = LinearSVC(C=0.01, class_weight="balanced", dual=False)
    is_right = machine.fit(latent, codes).predict(latent) == codes
    return float(np.mean(np.bincount(codes, weights=is_right) / np.bincount(codes)))


def _concentration(importances: np.ndarray) -> np.ndarray:
    """Returns 1 - entropy / largest entropy of each row; 0 for a row of zeros."""
    totals = importances.sum(axis=1, keepdims=True)
    shares = importances / np.where(totals > 0, totals, 1.0)
    logs = np.log(shares, where=shares > 0, out=np.zeros_like(shares))
    entropies = -np.sum(shares * logs, axis=1) / np.log(importances.shape[1])
    return np.where(totals[:, 0] > 0, 1 - entropies, 0.0)
