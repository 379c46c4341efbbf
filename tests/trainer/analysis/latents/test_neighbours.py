from collections.abc import Iterator

import numpy as np
import pytest

from trainer.analysis.latents import neighbours

RNG = np.random.default_rng(0)
SHAPE = (12, 10, 3)
IMAGES = RNG.uniform(-1, 1, (300, *SHAPE)).astype(np.float32)
KEYS = [f"{i:06d}.jpg" for i in range(300)]
QUERIES = RNG.uniform(-1, 1, (5, *SHAPE)).astype(np.float32)


def batches(
    size: int, images: np.ndarray = IMAGES
) -> Iterator[tuple[list[str], np.ndarray]]:
    for i in range(0, len(images), size):
        part = images[i : i + size]
        yield KEYS[i : i + len(part)], part


@pytest.mark.parametrize("size", [1, 7, 64, 300, 301])
def test_batches_of_any_size_give_what_all_pairs_give(size: int) -> None:
    actual = neighbours.nearest(QUERIES, batches(size))
    differences = QUERIES[:, None].astype(np.float64) - IMAGES
    distances = np.sqrt(np.sum(differences**2, axis=(2, 3, 4)))
    places = distances.argmin(axis=1)
    assert actual.keys == tuple(KEYS[place] for place in places)
    np.testing.assert_array_equal(actual.images, IMAGES[places])
    np.testing.assert_allclose(actual.distances, distances.min(axis=1), rtol=1e-12)
    whole = neighbours.nearest(QUERIES, batches(300))
    np.testing.assert_array_equal(actual.distances, whole.distances)


def test_a_copy_is_at_distance_zero() -> None:
    actual = neighbours.nearest(IMAGES[[17, 250]], batches(64))
    assert actual.keys == (KEYS[17], KEYS[250])
    assert actual.distances.tolist() == [0, 0]


@pytest.mark.parametrize("size", [1, 2, 150, 300])
def test_of_equal_images_the_first_wins(size: int) -> None:
    images = IMAGES.copy()
    images[[40, 41, 200, 299]] = QUERIES[0] + 0.01
    actual = neighbours.nearest(QUERIES[:1], batches(size, images))
    assert actual.keys == (KEYS[40],)


@pytest.mark.parametrize("size", [1, 50, 300])
def test_what_float32_cannot_tell_apart_is_told_apart(size: int) -> None:
    """Compares bright images that differ by less than the rounding of their norms."""
    query = np.full([1, *SHAPE], 0.9, np.float32)
    images = np.repeat(query, 300, axis=0)
    images[:, 0, 0, 0] += np.linspace(3e-3, 2e-3, 300, dtype=np.float32)
    images[:, 5, 5, 1] += 1e-3
    actual = neighbours.nearest(query, batches(size, images))
    assert actual.keys == (KEYS[299],)
    assert actual.distances[0] == pytest.approx(np.hypot(2e-3, 1e-3), rel=1e-3)


def test_the_bound_of_the_rounding_is_the_published_one() -> None:
    """16 sqrt(D + 8) units of the last place; here D + 8 is 100."""
    bounds = neighbours._rounding(np.array([2.0, 0.0]), np.array([3.0, 0.0]), 92)
    unit = 160 * 2.0**-23
    assert bounds[0].tolist() == pytest.approx([5 * unit, 2 * unit], rel=1e-12)
    assert bounds[1].tolist() == pytest.approx([3 * unit, 1e-30], rel=1e-12)


def test_few_distances_are_computed_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    queries, images = (
        rng.uniform(-1, 1, (num, 4, 4, 3)).astype(np.float32) for num in (20, 400)
    )
    computed = []
    exact = neighbours._squared_distance
    monkeypatch.setattr(
        neighbours,
        "_squared_distance",
        lambda *pair: (computed.append(pair), exact(*pair))[1],
    )
    neighbours.nearest(queries, [(np.arange(400).astype(str), images)])
    assert len(computed) < 40


def test_what_is_kept_does_not_hold_the_batch() -> None:
    actual = neighbours.nearest(IMAGES[:1], batches(300))
    assert actual.images.base is None


def test_images_of_float16_are_compared_as_they_are() -> None:
    images = IMAGES.astype(np.float16)
    actual = neighbours.nearest(IMAGES[:3], batches(64, images))
    differences = IMAGES[:3].astype(np.float64) - images[:3]
    np.testing.assert_allclose(
        actual.distances, np.sqrt(np.sum(differences**2, axis=(1, 2, 3)))
    )


def test_no_queries_have_no_neighbours() -> None:
    actual = neighbours.nearest(QUERIES[:0], batches(64))
    assert actual.keys == ()
    assert actual.distances.shape == (0,)


def test_empty_batches_are_passed_over() -> None:
    actual = neighbours.nearest(QUERIES, [([], IMAGES[:0]), (KEYS, IMAGES)])
    assert actual.keys == neighbours.nearest(QUERIES, batches(300)).keys


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \[q, height, width, channels\]"):
        neighbours.nearest(QUERIES[0], batches(64))
    with pytest.raises(ValueError, match="do not match"):
        neighbours.nearest(QUERIES[:, 1:], batches(64))
    with pytest.raises(ValueError, match="299 keys, images"):
        neighbours.nearest(QUERIES, [(KEYS[:-1], IMAGES)])
    with pytest.raises(ValueError, match="there is no image"):
        neighbours.nearest(QUERIES, [])
    spoilt = IMAGES.copy()
    spoilt[3, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="images must be finite"):
        neighbours.nearest(QUERIES, batches(64, spoilt))
    with pytest.raises(ValueError, match="images must be finite"):
        neighbours.nearest(spoilt[:5], batches(64))


def test_the_ratio_of_copies_is_zero_and_of_unseen_images_one() -> None:
    train, test = IMAGES[:200], IMAGES[200:250]
    unseen = neighbours.nearest(test, batches(64, train)).distances
    copies = neighbours.nearest(train[:9], batches(64, train)).distances
    others = neighbours.nearest(IMAGES[250:], batches(64, train)).distances
    assert neighbours.memorisation_ratio(copies, unseen) == 0
    assert neighbours.memorisation_ratio(others, unseen) == pytest.approx(1, abs=0.02)


def test_a_ratio_needs_both_distances_and_unseen_images() -> None:
    for first, second in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="at least 1 sample distance and 1 test"):
            neighbours.memorisation_ratio(np.ones(first), np.ones(second))
    with pytest.raises(ValueError, match="all test images are among"):
        neighbours.memorisation_ratio(np.ones(2), np.zeros(2))
