import dataclasses
import io
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from pipeline.synthetic.canvas import stretch
from pipeline.synthetic.face import (
    JPEG_QUALITY,
    draw,
    draw_face,
    draw_jpeg,
    list_landmarks,
)
from pipeline.synthetic.factors import Factors, sample_factors


def base_face(**changes: object) -> Factors:
    """Returns a face that looks straight ahead, with its regions at known places."""
    front = {
        "yaw": 0.0,
        "roll": 0.0,
        "scale": 1.0,
        "shift_x": 0.0,
        "shift_y": 0.0,
        "glasses": "none",
        "beard": "none",
        "has_bangs": 0,
        "hair_length": 0.25,
        "hairline": 0.5,
        "earrings": 0,
    }
    return dataclasses.replace(sample_factors(5, 0), **{**front, **changes})


def changed_pixels(first: Factors, second: Factors) -> np.ndarray:
    return (draw_face(first) != draw_face(second)).any(axis=2)


# A change, and the rows and columns that must contain all changed pixels.
LOCAL_CHANGES = {
    "glasses": ({"glasses": "round"}, (95, 132), (40, 137)),
    "sunglasses": ({"glasses": "sunglasses"}, (95, 132), (40, 137)),
    "smile": ({"smile": 0.95}, (112, 180), (42, 135)),
    "mouth_open": ({"mouth_open": 0.95}, (140, 175), (66, 111)),
    "lip_fullness": ({"lip_fullness": 0.95}, (140, 175), (66, 111)),
    "lipstick": ({"lipstick": 1}, (140, 175), (66, 111)),
    "mustache": ({"beard": "mustache"}, (138, 162), (64, 113)),
    "goatee": ({"beard": "goatee"}, (138, 192), (62, 115)),
    "full beard": ({"beard": "full"}, (104, 192), (40, 137)),
    "eye_color": ({"eye_color": "blue"}, (99, 123), (52, 125)),
    "eye_size": ({"eye_size": 0.95}, (97, 125), (50, 127)),
    "eye_openness": ({"eye_openness": 0.95}, (97, 125), (50, 127)),
    "gaze": ({"gaze": 0.9}, (99, 123), (52, 125)),
    "brow_thickness": ({"brow_thickness": 0.95}, (84, 106), (48, 129)),
    "brow_arch": ({"brow_arch": 0.95}, (84, 106), (48, 129)),
    "nose_size": ({"nose_size": 0.95}, (80, 150), (70, 107)),
    "rosy_cheeks": ({"rosy_cheeks": 1}, (115, 149), (44, 133)),
    "earrings": ({"earrings": 1}, (128, 145), (30, 147)),
}
START = {
    "smile": 0.1,
    "mouth_open": 0.1,
    "lip_fullness": 0.1,
    "lipstick": 0,
    "eye_color": "brown",
    "eye_size": 0.1,
    "eye_openness": 0.2,
    "gaze": 0.0,
    "brow_thickness": 0.1,
    "brow_arch": 0.1,
    "nose_size": 0.1,
    "rosy_cheeks": 0,
    "earrings": 0,
}


@pytest.mark.parametrize("name", LOCAL_CHANGES)
def test_factor_changes_its_own_region_alone(name: str):
    change, (top, bottom), (left, right) = LOCAL_CHANGES[name]
    start = {key: START[key] for key in change if key in START}
    first = base_face(**start)
    changed = changed_pixels(first, dataclasses.replace(first, **change))
    assert changed[top:bottom, left:right].sum() >= 30
    changed[top:bottom, left:right] = False
    assert not changed.any(), np.argwhere(changed)[[0, -1]]


def test_hair_color_leaves_the_face_alone():
    first = base_face(hair_length=0.9, hair_color="black")
    changed = changed_pixels(first, dataclasses.replace(first, hair_color="blond"))
    # Hair and brows change; eyes, nose, mouth and the background do not.
    assert changed[40:60, 70:107].mean() > 0.9
    assert changed[88:104, 55:122].sum() > 100
    assert not changed[125:165, 62:115].any()
    assert not changed[:20].any()
    assert not changed[:80, :20].any()


def test_hair_length_leaves_the_face_alone():
    first = base_face(hair_length=0.5)
    changed = changed_pixels(first, dataclasses.replace(first, hair_length=0.95))
    assert changed[170:200, 30:45].any()
    assert not changed[100:165, 70:107].any()


def test_background_leaves_the_face_alone():
    first = base_face(background_hue=0.1)
    changed = changed_pixels(first, dataclasses.replace(first, background_hue=0.6))
    assert changed[:30].all()
    assert not changed[80:150, 62:115].any()


@pytest.mark.parametrize(
    "change",
    [
        {"yaw": 15.0},
        {"light_x": 1.0},
        {"skin_tone": 1.0},
        {"scale": 1.08},
        {"shift_x": 5.0},
        {"face_width": 1.0},
        {"jaw_width": 1.0},
    ],
)
def test_global_factor_changes_the_skin(change: dict[str, object]):
    first = base_face(light_x=-1.0, skin_tone=0.1, face_width=0.0, jaw_width=0.0)
    changed = changed_pixels(first, dataclasses.replace(first, **change))
    assert changed.mean() > 0.05


def test_every_part_is_where_celeba_has_it():
    landmarks = list_landmarks(base_face(smile=0.2))
    celeba = (69, 111, 108, 111, 88, 134, 73, 153, 104, 153)
    assert landmarks == pytest.approx(celeba, abs=3)


def test_landmarks_turn_with_the_head():
    left = list_landmarks(base_face(yaw=-20.0))
    right = list_landmarks(base_face(yaw=20.0))
    # The nose stands out, so it moves further than the eyes.
    assert right[4] - left[4] > right[0] - left[0] > 0
    tilted = list_landmarks(base_face(roll=6.0))
    assert tilted[3] - tilted[1] == pytest.approx(39 * np.sin(np.radians(6)), abs=1)


def test_landmark_is_on_the_dark_pupil():
    factors = base_face(gaze=0.0, eye_openness=0.8)
    x, y, *_ = list_landmarks(factors)
    pixels = draw_face(factors)
    assert pixels[y - 2 : y + 2, x - 2 : x + 2].mean() < pixels[y + 20, x].mean() - 60


def test_face_is_uint8_and_uses_the_range():
    pixels = draw_face(sample_factors(0, 0))
    assert (pixels.shape, pixels.dtype) == ((218, 178, 3), np.uint8)
    faces = np.stack([draw_face(sample_factors(0, index)) for index in range(40)])
    assert 70 < faces.mean() < 160
    # Faces differ from each other, and every pixel differs between faces.
    assert faces.std(axis=0).min() > 5


def test_extreme_factors_can_be_drawn():
    for yaw in (-26.0, 26.0):
        for roll in (-8.0, 8.0):
            for scale, shift in ((0.92, -5.0), (1.08, 5.0)):
                factors = base_face(
                    yaw=yaw,
                    roll=roll,
                    scale=scale,
                    shift_x=shift,
                    shift_y=-shift,
                    hair_length=1.0,
                    glasses="square",
                    beard="full",
                    earrings=1,
                    eye_size=1.0,
                )
                assert draw_face(factors).std() > 20


def test_jpeg_is_a_celeba_file():
    sizes = []
    for index in range(24):
        jpeg = draw(2, index)
        with Image.open(io.BytesIO(jpeg)) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (178, 218))
            difference = np.asarray(image, float) - draw_face(sample_factors(2, index))
        assert np.abs(difference).mean() < 3
        sizes.append(len(jpeg))
    assert 4_000 < min(sizes)
    assert max(sizes) < 16_000
    assert 6_000 < np.mean(sizes) < 12_000


def test_jpeg_holds_the_drawn_pixels():
    # Hair, baldness, a beard and glasses cover every path through the drawing.
    faces = [
        base_face(hair_length=length, beard=beard, glasses=glasses)
        for length in (0.0, 0.3, 1.0)
        for beard, glasses in (("none", "none"), ("full", "round"))
    ]
    for factors in faces:
        expected = io.BytesIO()
        Image.fromarray(draw_face(factors)).save(expected, "JPEG", quality=JPEG_QUALITY)
        # Another encoder rounds differently, by less than the compression loses.
        actual = np.asarray(Image.open(io.BytesIO(draw_jpeg(factors))), np.int16)
        difference = np.abs(actual - np.asarray(Image.open(expected)))
        assert difference.max() <= 24
        assert difference.mean() < 1


@pytest.mark.parametrize("height", [9, 10])
def test_stretched_rows_lie_between_their_neighbours(height: int):
    field = np.arange(10, dtype=np.float32).reshape(5, 2) ** 2
    tall = stretch(field, height)
    assert tall.shape == (height, 2)
    assert (tall[::2] == field).all()
    assert (tall[1:8:2] == (field[:-1] + field[1:]) / 2).all()
    assert (tall[-1] == field[-1]).all()


def test_drawing_is_the_same_whatever_the_processor():
    code = (
        "import hashlib; from pipeline.synthetic.face import draw; "
        "jpegs = b''.join(draw(0, index) for index in range(24)); "
        "print(hashlib.sha256(jpegs).hexdigest())"
    )
    # NumPy and OpenBLAS behave as on an old processor.
    old = {
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 X86_V3 X86_V4",
        "OPENBLAS_CORETYPE": "Nehalem",
    }
    hashes = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            cwd=pathlib.Path(__file__).parents[3],
            env={**os.environ, **changes},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for changes in ({}, old)
    }
    assert len(hashes) == 1


def test_draw_depends_on_seed_and_index_alone():
    alone = draw(9, 5)
    assert [draw(9, index) for index in range(7)][5] == alone
    assert draw(10, 5) != alone


@pytest.mark.perf
def test_drawing_costs_a_few_encodings():
    pixels = Image.fromarray(draw_face(sample_factors(0, 0)))

    def seconds(function, num_calls: int = 100) -> float:
        start = time.process_time()
        for index in range(num_calls):
            function(index)
        return (time.process_time() - start) / num_calls

    draw_seconds = min(seconds(lambda index: draw(0, index)) for _ in range(5))
    encode_seconds = min(
        seconds(lambda _: pixels.save(io.BytesIO(), "JPEG", quality=92))
        for _ in range(5)
    )
    assert draw_seconds < 22 * encode_seconds
