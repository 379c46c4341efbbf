import numpy as np
import pytest
from sklearn import metrics
from sklearn.pipeline import make_pipeline

from trainer.analysis.latents import probe

RNG = np.random.default_rng(0)
CENTRES = 6 * np.eye(4, 5)
LABELS = RNG.integers(4, size=600)
LATENTS = CENTRES[LABELS] + RNG.normal(size=(600, 5))
TRAIN, TEST = slice(0, 400), slice(400, 600)


def test_separate_classes_are_read_without_error() -> None:
    actual = probe.probe_labels(
        LATENTS[TRAIN], LABELS[TRAIN], LATENTS[TEST], LABELS[TEST]
    )
    assert actual.accuracy > 0.99
    assert actual.balanced_accuracy > 0.99
    assert actual.majority_accuracy == pytest.approx(0.25, abs=0.1)


def test_noise_tells_nothing_of_labels() -> None:
    noise = np.random.default_rng(1).normal(size=(600, 5))
    actual = probe.probe_labels(noise[TRAIN], LABELS[TRAIN], noise[TEST], LABELS[TEST])
    assert actual.balanced_accuracy == pytest.approx(0.25, abs=0.1)


def test_the_scale_of_a_latent_does_not_matter() -> None:
    scales = np.array([1e-3, 1, 1e3, 1, 1])
    plain, scaled = (
        probe.probe_labels(z[TRAIN], LABELS[TRAIN], z[TEST], LABELS[TEST])
        for z in (LATENTS, LATENTS * scales + 7)
    )
    assert plain == scaled


def test_a_latent_that_never_moves_is_ignored() -> None:
    latents = np.concatenate([LATENTS, np.full([600, 1], 0.1)], axis=1)
    actual = probe.probe_labels(
        latents[TRAIN], LABELS[TRAIN], latents[TEST], LABELS[TEST]
    )
    assert actual.accuracy > 0.99


def test_the_optimum_of_two_overlapping_classes_is_reached() -> None:
    """The best accuracy for N(-1, 1) against N(1, 1) is Phi(1)."""
    rng = np.random.default_rng(2)
    labels = np.arange(20_000) % 2
    latents = (2 * labels - 1 + rng.normal(size=20_000))[:, None]
    actual = probe.probe_labels(
        latents[:10_000], labels[:10_000], latents[10_000:], labels[10_000:]
    )
    assert actual.accuracy == pytest.approx(0.8413, abs=0.01)


def test_each_attribute_has_its_own_score() -> None:
    rng = np.random.default_rng(3)
    attributes = np.stack(
        [LABELS == 2, rng.uniform(size=600) < 0.1, np.zeros(600)], axis=1
    ).astype(np.int64)
    read, rare, never = probe.probe_attributes(
        LATENTS[TRAIN], attributes[TRAIN], LATENTS[TEST], attributes[TEST]
    )
    assert read.accuracy > 0.99
    assert read.majority_accuracy == np.mean(attributes[TEST, 0] == 0)
    # The majority class makes most predictions right, and the latents add nothing.
    assert rare.accuracy == pytest.approx(rare.majority_accuracy, abs=0.02)
    assert rare.balanced_accuracy == pytest.approx(0.5, abs=0.05)
    assert never == probe.ProbeScore(1.0, 1.0, 1.0)


def test_an_attribute_that_training_never_has_is_never_predicted() -> None:
    latents, train = np.zeros([4, 2]), np.zeros([4, 1])
    test = np.array([[0], [0], [0], [1]])
    (actual,) = probe.probe_attributes(latents, train, latents, test)
    assert actual == probe.ProbeScore(0.75, 0.5, 0.75)


def test_balanced_accuracy_is_that_of_the_library() -> None:
    latents = LATENTS + np.random.default_rng(4).normal(0, 4, LATENTS.shape)
    actual = probe._probe(latents[TRAIN], LABELS[TRAIN], latents[TEST], LABELS[TEST])
    pipeline = make_pipeline(probe.StandardScaler(), probe.LogisticRegression())
    predicted = pipeline.fit(latents[TRAIN], LABELS[TRAIN]).predict(latents[TEST])
    assert actual.balanced_accuracy == pytest.approx(
        metrics.balanced_accuracy_score(LABELS[TEST], predicted)
    )


def test_probes_of_all_attributes_are_those_of_the_library() -> None:
    rng = np.random.default_rng(5)
    latents = LATENTS * [1e-3, 1, 1e3, 1, 1] + 7
    attributes = np.stack([LABELS == 2, rng.uniform(size=600) < 0.1, LABELS < 9], 1)
    probes = probe.AttributeProbes(latents[TRAIN], attributes[TRAIN].astype(np.int64))
    actual = probes.probabilities(latents[TEST])
    assert np.isnan(actual[:, 2]).all()
    for column in range(2):
        exact = probe.LogisticRegression(tol=1e-10, max_iter=10_000)
        pipeline = make_pipeline(probe.StandardScaler(), exact)
        pipeline.fit(latents[TRAIN], attributes[TRAIN, column])
        expected = pipeline.predict_proba(latents[TEST])[:, 1]
        np.testing.assert_allclose(actual[:, column], expected, atol=1e-4)


def test_labels_of_one_class_are_refused() -> None:
    with pytest.raises(ValueError, match="all 4 training labels are 3"):
        probe.probe_labels(LATENTS[:4], np.full(4, 3), LATENTS[:4], LABELS[:4])


def test_attributes_of_three_values_are_refused() -> None:
    attributes = np.array([[0, 0], [1, 1], [1, 2]])
    with pytest.raises(ValueError, match="column 1 of the attributes has 3 values"):
        probe.probe_attributes(LATENTS[:3], attributes, LATENTS[:3], attributes)


def test_shapes_that_do_not_match_are_refused() -> None:
    z, labels = LATENTS[:9], LABELS[:9]
    for arguments in (
        (z[:8], labels, z, labels),
        (z, labels, z[:8], labels),
        (z, labels, z[:, 1:], labels),
        (z, labels, z[:0], labels[:0]),
        (z[:0], labels[:0], z, labels),
        (z, labels[:, None], z, labels[:, None]),
    ):
        with pytest.raises(ValueError, match="are empty or do not match"):
            probe.probe_labels(*arguments)
    attributes = np.stack([labels, labels], axis=1) % 2
    with pytest.raises(ValueError, match="are empty or do not match"):
        probe.probe_attributes(z, attributes, z, attributes[:, :1])
    with pytest.raises(ValueError, match="are empty or do not match"):
        probe.probe_attributes(z, labels, z, labels)
