import numpy as np
import pytest

from trainer.analysis.latents import directions, probe


def examples(num: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Returns latents and three attributes; the third is a copy of the first.

    The first and the second attribute each depend on a latent of their own.
    """
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(num, 4))
    first, second = latents[:, 0] > 0, latents[:, 1] > 1
    attributes = np.stack([first, second, first], axis=1).astype(np.int64)
    return latents, attributes


def test_a_direction_is_the_difference_of_two_means() -> None:
    latents, attributes = examples()
    actual = directions.find(latents, attributes)
    for column in range(3):
        has = attributes[:, column] == 1
        expected = latents[has].mean(axis=0) - latents[~has].mean(axis=0)
        np.testing.assert_allclose(actual[column], expected, atol=1e-12)
    assert abs(actual[0]).argmax() == 0
    assert abs(actual[1]).argmax() == 1


def test_an_attribute_of_all_or_of_none_has_no_direction() -> None:
    latents, attributes = examples()
    attributes[:, 0], attributes[:, 1] = 1, 0
    actual = directions.find(latents, attributes)
    assert not actual[:2].any()
    assert actual[2].any()
    with pytest.raises(ValueError, match="do not match"):
        directions.find(latents, attributes[:5])


def test_an_attribute_of_a_single_example_has_a_direction() -> None:
    latents = np.array([[4.0, 0.0], [0.0, 3.0], [0.0, 5.0]])
    attributes = np.array([[1, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0]])
    # Nothing is divided by 0 for the attributes of all and of none.
    with np.errstate(all="raise"):
        actual = directions.find(latents, attributes)
    assert actual.tolist() == [[4, -4], [-4, 4], [0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("latents", "attributes"),
    [
        (np.zeros([3, 2]), np.zeros([2, 2])),
        (np.zeros([3]), np.zeros([3, 2])),
        (np.zeros([3, 2]), np.zeros([3])),
    ],
)
def test_shapes_that_do_not_match_are_refused(
    latents: np.ndarray, attributes: np.ndarray
) -> None:
    with pytest.raises(ValueError, match="do not match"):
        directions.find(latents, attributes)


def test_a_step_leads_away_from_an_attribute_and_towards_its_lack() -> None:
    before = np.array([[0.8, 0.5], [0.1, 0.5]])
    after = np.array([[0.3, 0.5], [0.5, 0.75]])
    effect = directions.measure(0, np.array([True, False]), before, after)
    # The two examples change by 0.5 and 0.4, and the other attribute by 0 and 0.25.
    assert effect.change == pytest.approx(0.45)
    assert effect.most_changed == 1
    assert effect.leakage == pytest.approx(0.125)
    assert effect.most_change == pytest.approx(0.125)


def test_a_step_changes_its_attribute_and_what_goes_with_it() -> None:
    latents, attributes = examples()
    actual = directions.find(latents, attributes)
    probes = probe.AttributeProbes(latents, attributes)
    has = attributes == 1

    def effect(column: int) -> directions.Effect:
        sense = np.where(has[:, column], -1.0, 1.0)[:, np.newaxis]
        after = latents + sense * actual[column]
        seen = [probes.probabilities(z) for z in (latents, after)]
        return directions.measure(column, has[:, column], *seen)

    first, second = effect(0), effect(1)
    assert first.change > 0.7
    # The third attribute copies the first, and the second depends on another latent.
    assert first.most_changed == 2
    assert first.most_change == pytest.approx(first.change, abs=1e-6)
    assert first.leakage == pytest.approx(first.change / 2, abs=0.05)
    assert second.change > 0.5
    assert second.leakage < 0.1


def test_a_step_that_leads_nowhere_changes_nothing() -> None:
    latents, attributes = examples()
    attributes = np.stack([attributes[:, 0], np.ones(len(latents))], axis=1)
    seen = probe.AttributeProbes(latents, attributes).probabilities(latents)
    assert np.isnan(seen[:, 1]).all()
    effect = directions.measure(0, attributes[:, 0] == 1, seen, seen)
    assert effect == directions.Effect(0.0, 0.0, None, 0.0)
    with pytest.raises(ValueError, match="attribute 1 has no probe"):
        directions.measure(1, attributes[:, 0] == 1, seen, seen)
