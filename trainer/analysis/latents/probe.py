"""Linear probes: how well a linear classifier reads labels from the latents.

n, m  training and held-out examples        d  latents        a  attributes
"""

import dataclasses

import numpy as np
import threadpoolctl
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pipeline.process import bars


@dataclasses.dataclass(frozen=True)
class ProbeScore:
    """Scores of a probe on held-out examples, with a baseline that uses no latents.

    Attributes:
        accuracy: Share of the examples that are predicted correctly.
        balanced_accuracy: Mean recall over the classes of the held-out examples; chance
            is one over the number of these classes.
        majority_accuracy: Accuracy of always predicting the most frequent class of the
            training examples.
    """

    accuracy: float
    balanced_accuracy: float
    majority_accuracy: float


def probe_labels(
    train_latents: np.ndarray,
    train_labels: np.ndarray,
    test_latents: np.ndarray,
    test_labels: np.ndarray,
) -> ProbeScore:
    """Returns how well multinomial logistic regression reads a label from latents.

    Latents are scaled to mean 0 and variance 1 on the training examples. The weights
    carry scikit-learn's default L2 penalty (C = 1), which is small for many examples.

    Args:
        train_latents: `[n, d]`, posterior means.
        train_labels: `[n]`, with at least two classes.
        test_latents: `[m, d]`, of held-out examples.
        test_labels: `[m]`.

    Raises:
        ValueError: If shapes do not match, there is no example, or the training labels
            have one class only.

    Source:
        Alain and Bengio, "Understanding intermediate layers using linear classifier
        probes" (2017).

    Example:
        >>> latents = np.array([[-2.0], [-1.0], [1.0], [2.0]])
        >>> labels = np.array([3, 3, 7, 7])
        >>> probe_labels(latents, labels, np.array([[-5.0], [5.0]]), np.array([3, 7]))
        ProbeScore(accuracy=1.0, balanced_accuracy=1.0, majority_accuracy=0.5)
    """
    _check(train_latents, train_labels, test_latents, test_labels, label_rank=1)
    if np.unique(train_labels).size < 2:
        raise ValueError(
            f"all {train_labels.size} training labels are {train_labels.max()}: a "
            "probe needs at least two classes"
        )
    return _probe(train_latents, train_labels, test_latents, test_labels)


def probe_attributes(
    train_latents: np.ndarray,
    train_attributes: np.ndarray,
    test_latents: np.ndarray,
    test_attributes: np.ndarray,
) -> tuple[ProbeScore, ...]:
    """Returns the score of a logistic regression for each attribute.

    Most attributes of faces are rare, so an accuracy means little without the accuracy
    of the majority class. If an attribute has a single value in training, the probe
    always predicts that value.

    Args:
        train_latents: `[n, d]`, posterior means.
        train_attributes: `[n, a]`, two values in each column, such as 0 and 1.
        test_latents: `[m, d]`.
        test_attributes: `[m, a]`.

    Returns:
        Scores of the a attributes, in the order of the columns.

    Raises:
        ValueError: If shapes do not match, there is no example, or an attribute has
            more than two values.

    Example:
        >>> latents = np.array([[-2.0], [-1.0], [1.0], [2.0]])
        >>> attributes = np.array([[0, 1], [0, 1], [1, 1], [1, 1]])
        >>> scores = probe_attributes(latents, attributes, latents, attributes)
        >>> [(score.accuracy, score.majority_accuracy) for score in scores]
        [(1.0, 0.5), (1.0, 1.0)]
    """
    _check(train_latents, train_attributes, test_latents, test_attributes, label_rank=2)
    scores = []
    pairs = list(zip(train_attributes.T, test_attributes.T, strict=True))
    for column, (train, test) in enumerate(bars.over(pairs, "probes", "attribute")):
        values = np.unique(np.concatenate([train, test]))
        if values.size > 2:
            raise ValueError(
                f"column {column} of the attributes has {values.size} values: an "
                "attribute has at most 2"
            )
        scores.append(_probe(train_latents, train, test_latents, test))
    return tuple(scores)


class AttributeProbes:
    """The logistic regressions that `probe_attributes` scores, one per attribute."""

    def __init__(self, latents: np.ndarray, attributes: np.ndarray) -> None:
        """Fits the regressions.

        Args:
            latents: `[n, d]`, posterior means.
            attributes: `[n, a]`, 0 or 1.
        """
        self._scaler = StandardScaler().fit(latents)
        scaled = self._scaler.transform(latents)
        self._fitted = [
            _fit(scaled, values) if np.ptp(values) else None
            for values in bars.over(attributes.T, "fitting probes", "attribute")
        ]

    def probabilities(self, latents: np.ndarray) -> np.ndarray:
        """Returns the probability of each attribute, given latents `[n, d]`.

        Returns:
            `[n, a]`; NaN for an attribute that has a single value in training.
        """
        scaled = self._scaler.transform(latents)
        missing = np.full(len(scaled), np.nan)
        columns = [
            missing if fitted is None else fitted.predict_proba(scaled)[:, 1]
            for fitted in self._fitted
        ]
        return np.stack(columns, axis=1)


def _fit(latents: np.ndarray, labels: np.ndarray) -> LogisticRegression:
    # Newton's method takes a tenth of the time and ends nearer to the optimum, but the
    # size of its Hessian grows with the square of the number of classes.
    solver = "lbfgs" if np.unique(labels).size > 2 else "newton-cholesky"
    regression = LogisticRegression(max_iter=1_000, solver=solver)
    # BLAS threads wait for each other in such small products, and wait long on a busy
    # machine.
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        return regression.fit(latents, labels)


def _probe(
    train_latents: np.ndarray,
    train_labels: np.ndarray,
    test_latents: np.ndarray,
    test_labels: np.ndarray,
) -> ProbeScore:
    classes, counts = np.unique(train_labels, return_counts=True)
    majority = classes[counts.argmax()]
    predicted = np.full(test_labels.shape, majority)
    if classes.size > 1:
        scaler = StandardScaler().fit(train_latents)
        fitted = _fit(scaler.transform(train_latents), train_labels)
        predicted = fitted.predict(scaler.transform(test_latents))
    is_right = predicted == test_labels
    recalls = [
        is_right[test_labels == label].mean() for label in np.unique(test_labels)
    ]
    return ProbeScore(
        accuracy=float(is_right.mean()),
        balanced_accuracy=float(np.mean(recalls)),
        majority_accuracy=float(np.mean(test_labels == majority)),
    )


def _check(
    train_latents: np.ndarray,
    train_labels: np.ndarray,
    test_latents: np.ndarray,
    test_labels: np.ndarray,
    label_rank: int,
) -> None:
    for latents, labels in (train_latents, train_labels), (test_latents, test_labels):
        if (
            latents.ndim != 2
            or labels.ndim != label_rank
            or len(latents) != len(labels)
            or not len(latents)
            or latents.shape[1] != train_latents.shape[1]
            or labels.shape[1:] != train_labels.shape[1:]
        ):
            raise ValueError(
                f"training latents {train_latents.shape} and labels "
                f"{train_labels.shape}, or test latents {test_latents.shape} and "
                f"labels {test_labels.shape}, are empty or do not match"
            )
