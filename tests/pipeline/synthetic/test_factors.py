import dataclasses
import itertools

import numpy as np
import pytest

from pipeline.sources.celeba.attributes import ATTRIBUTE_NAMES
from pipeline.synthetic.attributes import list_attributes
from pipeline.synthetic.factors import (
    BEARDS,
    EYE_COLORS,
    FACTOR_NAMES,
    GLASSES,
    HAIR_COLORS,
    Factors,
    sample_factors,
)

CHOICES = {
    "hair_color": HAIR_COLORS,
    "eye_color": EYE_COLORS,
    "beard": BEARDS,
    "glasses": GLASSES,
}


@pytest.fixture(scope="module")
def faces() -> list[Factors]:
    return [sample_factors(11, index) for index in range(2000)]


def attributes_of(factors: Factors, **changes: object) -> dict[str, int]:
    changed = dataclasses.replace(factors, **changes)
    return dict(zip(ATTRIBUTE_NAMES, list_attributes(changed), strict=True))


def test_factors_depend_on_seed_and_index_alone():
    backwards = [sample_factors(3, index) for index in reversed(range(20))]
    forwards = [sample_factors(3, index) for index in range(20)]
    assert backwards[::-1] == forwards
    assert sample_factors(3, 0) != sample_factors(4, 0)
    assert sample_factors(3, 4) != sample_factors(4, 3)
    assert len(set(forwards)) == 20


def test_sample_is_the_same_in_every_release():
    # Users cite faces by (seed, index): a change here needs a changelog entry.
    factors = sample_factors(0, 0)
    actual = (factors.yaw, factors.hair_color, factors.glasses, factors.smile)
    assert actual == (3.5004, "gray", "none", 0.0364)


@pytest.mark.parametrize(("seed", "index"), [(-1, 0), (2**64, 0)])
def test_seed_out_of_range(seed: int, index: int):
    with pytest.raises(ValueError, match=r"seed=.* must be from 0 to 2\*\*64-1"):
        sample_factors(seed, index)


@pytest.mark.parametrize("index", [-1, 2**64])
def test_index_out_of_range(index: int):
    with pytest.raises(ValueError, match=r"index=.* must be from 0 to 2\*\*64-1"):
        sample_factors(0, index)


def test_factors_are_independent(faces: list[Factors]):
    columns = {}
    for name in FACTOR_NAMES:
        values = [getattr(factors, name) for factors in faces]
        if name in CHOICES:
            for choice in CHOICES[name]:
                columns[f"{name}={choice}"] = [value == choice for value in values]
        else:
            columns[name] = values
    matrix = np.corrcoef(np.array(list(columns.values()), float))
    for (i, first), (j, second) in itertools.combinations(enumerate(columns), 2):
        if first.split("=")[0] != second.split("=")[0]:
            # Six standard deviations of the correlation of 2,000 independent pairs.
            assert abs(matrix[i, j]) < 6 / np.sqrt(2000), (first, second)


def test_factors_stay_in_their_range(faces: list[Factors]):
    ranges = {
        "yaw": (-26, 26),
        "roll": (-8, 8),
        "scale": (0.92, 1.08),
        "shift_x": (-5, 5),
        "shift_y": (-5, 5),
        "light_x": (-1, 1),
        "hair_part": (-1, 1),
        "gaze": (-1, 1),
    }
    for name in FACTOR_NAMES:
        values = [getattr(factors, name) for factors in faces]
        if name in CHOICES:
            assert set(values) == set(CHOICES[name])
            continue
        low, high = ranges.get(name, (0, 1))
        assert low <= min(values) < max(values) <= high, name
        # The values nearly reach both ends of the range.
        assert max(values) - min(values) > 0.85 * (high - low), name


def test_some_are_bald_and_bald_is_exactly_zero(faces: list[Factors]):
    bald = [factors for factors in faces if factors.hair_length == 0]
    assert len(bald) == pytest.approx(140, abs=50)
    assert min(f.hair_length for f in faces if f.hair_length > 0) >= 0.05


def test_attribute_names_are_celebas():
    assert len(ATTRIBUTE_NAMES) == len(set(ATTRIBUTE_NAMES)) == 40
    assert ATTRIBUTE_NAMES[0] == "5_o_Clock_Shadow"
    assert ATTRIBUTE_NAMES[15] == "Eyeglasses"
    assert ATTRIBUTE_NAMES[31] == "Smiling"
    assert ATTRIBUTE_NAMES[39] == "Young"
    assert list(ATTRIBUTE_NAMES) == sorted(ATTRIBUTE_NAMES)


@pytest.mark.parametrize(
    ("changes", "name", "expected"),
    [
        ({"glasses": "round"}, "Eyeglasses", 1),
        ({"glasses": "sunglasses"}, "Eyeglasses", 1),
        ({"glasses": "none"}, "Eyeglasses", -1),
        ({"smile": 0.9}, "Smiling", 1),
        ({"smile": 0.2}, "Smiling", -1),
        ({"mouth_open": 0.9}, "Mouth_Slightly_Open", 1),
        ({"mouth_open": 0.1}, "Mouth_Slightly_Open", -1),
        ({"beard": "none"}, "No_Beard", 1),
        ({"beard": "full"}, "No_Beard", -1),
        ({"beard": "goatee"}, "Goatee", 1),
        ({"beard": "mustache"}, "Mustache", 1),
        ({"beard": "mustache"}, "Goatee", -1),
        ({"beard": "stubble"}, "5_o_Clock_Shadow", 1),
        ({"hair_color": "black", "hair_length": 0.5}, "Black_Hair", 1),
        ({"hair_color": "blond", "hair_length": 0.5}, "Blond_Hair", 1),
        ({"hair_color": "brown", "hair_length": 0.5}, "Brown_Hair", 1),
        ({"hair_color": "gray", "hair_length": 0.5}, "Gray_Hair", 1),
        ({"hair_color": "gray", "hair_length": 0.0}, "Gray_Hair", -1),
        ({"hair_length": 0.0}, "Bald", 1),
        ({"hair_length": 0.05}, "Bald", -1),
        ({"hair_length": 0.5, "has_bangs": 1}, "Bangs", 1),
        ({"hair_length": 0.0, "has_bangs": 1}, "Bangs", -1),
        ({"hair_length": 0.5, "hair_wave": 0.9}, "Wavy_Hair", 1),
        ({"hair_length": 0.5, "hair_wave": 0.1}, "Straight_Hair", 1),
        ({"skin_tone": 0.0}, "Pale_Skin", 1),
        ({"skin_tone": 0.8}, "Pale_Skin", -1),
        ({"brow_thickness": 0.9}, "Bushy_Eyebrows", 1),
        ({"eye_openness": 0.1}, "Narrow_Eyes", 1),
        ({"nose_size": 0.9}, "Big_Nose", 1),
        ({"lipstick": 1}, "Wearing_Lipstick", 1),
        ({"rosy_cheeks": 1}, "Rosy_Cheeks", 1),
        ({"earrings": 1}, "Wearing_Earrings", 1),
    ],
)
def test_attribute_follows_factor(changes: dict[str, object], name: str, expected: int):
    assert attributes_of(sample_factors(0, 0), **changes)[name] == expected


def test_attributes_that_are_not_drawn_are_never_set(faces: list[Factors]):
    table = np.array([list_attributes(factors) for factors in faces])
    assert set(np.unique(table)) == {-1, 1}
    for name in ("Attractive", "Male", "Young", "Wearing_Hat", "Blurry"):
        assert (table[:, ATTRIBUTE_NAMES.index(name)] == -1).all()
    # Every drawn attribute is true for some faces and false for other faces.
    shares = (table == 1).mean(axis=0)
    assert ((shares == 0) | ((shares > 0.02) & (shares < 0.95))).all()
    assert (shares > 0).sum() >= 25
