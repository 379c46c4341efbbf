"""Draws the whole face from its factors, and encodes it as JPEG."""

import numpy as np
import simplejpeg

from pipeline.synthetic.beard import paint_beard
from pipeline.synthetic.canvas import HEIGHT, WIDTH, to_bytes
from pipeline.synthetic.eyes import paint_eyes
from pipeline.synthetic.factors import Factors, sample_factors
from pipeline.synthetic.frame import (
    EYE_X,
    EYE_Y,
    MOUTH_LIFT,
    MOUTH_Y,
    NOSE_LIFT,
    NOSE_Y,
    place_head,
)
from pipeline.synthetic.glasses import paint_glasses
from pipeline.synthetic.hair import grow_hair, paint_hair_before, paint_hair_behind
from pipeline.synthetic.head import paint_ears, paint_head
from pipeline.synthetic.light import aim_light
from pipeline.synthetic.mouth import MOUTH_RISE, mouth_shape, paint_mouth
from pipeline.synthetic.scene import paint_background, paint_body

JPEG_QUALITY = 90


def draw_face(factors: Factors) -> np.ndarray:
    """Returns the face, `[218, 178, 3]` uint8."""
    return np.ascontiguousarray(_paint_face(factors)[..., :3])


def _paint_face(factors: Factors) -> np.ndarray:
    """Paints the face from back to front, and returns it as `to_bytes` does."""
    frame, light = place_head(factors), aim_light(factors)
    canvas = np.empty((3, HEIGHT, WIDTH), np.float32)
    paint_background(canvas, factors, light)
    hair = grow_hair(factors, frame, light)
    if hair:
        paint_hair_behind(canvas, hair, light)
    paint_body(canvas, factors, frame, light)
    paint_ears(canvas, factors, frame, light)
    paint_head(canvas, factors, frame, light)
    paint_eyes(canvas, factors, frame, light)
    paint_beard(canvas, factors, frame, light)
    paint_mouth(canvas, factors, frame, light)
    paint_glasses(canvas, factors, frame)
    if hair:
        paint_hair_before(canvas, hair, light)
    return to_bytes(canvas)


def list_landmarks(factors: Factors) -> tuple[int, ...]:
    """Returns the five landmarks of a face in pixels, in the order of `LANDMARK_NAMES`.

    Left and right are the image's, as in CelebA's file.
    """
    frame = place_head(factors)
    half_width, drop, _ = mouth_shape(factors)
    mouth_x, mouth_y = frame.project(0, MOUTH_Y, lift=MOUTH_LIFT)
    half_width *= frame.cos_yaw
    corner_y = mouth_y - MOUTH_RISE * drop
    points = (
        frame.project(-EYE_X, EYE_Y),
        frame.project(EYE_X, EYE_Y),
        frame.project(0, NOSE_Y, lift=NOSE_LIFT),
        (mouth_x - half_width, corner_y),
        (mouth_x + half_width, corner_y),
    )
    return tuple(round(value) for point in points for value in frame.to_pixel(*point))


def draw_jpeg(factors: Factors) -> bytes:
    """Returns the face as a JPEG file."""
    pixels = _paint_face(factors)
    return simplejpeg.encode_jpeg(pixels, JPEG_QUALITY, "RGBX", "420", fastdct=False)


def draw(seed: int, index: int) -> bytes:
    """Returns the JPEG file of one image, a pure function of (seed, index)."""
    return draw_jpeg(sample_factors(seed, index))
