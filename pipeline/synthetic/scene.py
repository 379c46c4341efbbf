"""Paints the background, the neck and the clothes."""

from collections.abc import Sequence

import numpy as np

from pipeline.synthetic.canvas import (
    HEIGHT,
    WIDTH,
    blend,
    bump,
    column,
    coverage,
    hue_color,
    positive,
    smooth_noise,
    stretch,
    unit,
)
from pipeline.synthetic.factors import Factors
from pipeline.synthetic.frame import Box, Frame
from pipeline.synthetic.light import Light

_X = np.linspace(-1, 1, WIDTH, dtype=np.float32)[None, :]
_Y = np.linspace(-1, 1, HEIGHT, dtype=np.float32)[:, None]
_VIGNETTE = 0.55 - 0.5 * (_X * _X + 0.7 * _Y * _Y) - 0.12 * _Y
# Twice the image's size, so different faces get different parts of the clouds.
_CLOUDS = 0.22 * smooth_noise(2 * HEIGHT, 2 * WIDTH, (5, 5), seed=1)
# Resolution of a blob's height, in steps per unit.
_GRAIN = 1024.0
_NECK_HALF_WIDTH = 24.0
_SHOULDER_Y = 84.0


def paint_background(canvas: np.ndarray, factors: Factors, light: Light) -> None:
    """Fills the whole canvas with a soft wall, out of focus and lit from a side."""
    hue, value = factors.background_hue, factors.background_value
    far = hue_color(hue, 0.42 - 0.14 * value, 0.24 + 0.5 * value)
    near = hue_color(hue + 0.05, 0.3 - 0.14 * value, 0.44 + 0.54 * value)
    top, left = int(hue * (HEIGHT - 1)), int(value * (WIDTH - 1))
    share = _CLOUDS[top : top + HEIGHT, left : left + WIDTH] + _VIGNETTE
    share += _X * (0.32 * light.x)
    unit(share)
    for plane, first, second in zip(canvas, far, near, strict=True):
        np.multiply(share, second - first, out=plane)
        plane += first


def paint_body(
    canvas: np.ndarray, factors: Factors, frame: Frame, light: Light
) -> None:
    """Paints the neck, with the shadow of the chin, and the clothes."""
    _paint_neck(canvas, factors, frame, light)
    box = frame.box(0, 105, 150, 25)
    region = canvas[:, *box].copy()
    if not region.size:
        return
    u, v = frame.grid(box)
    u -= 3 * frame.sin_yaw
    # The shoulders slope, and a round collar shows the base of the neck.
    spread = u * u
    shoulder = v - spread * 0.0021
    shoulder -= _SHOULDER_Y
    spread *= 22 / _NECK_HALF_WIDTH**2
    spread += v
    spread -= 105
    cloth = coverage(np.minimum(shoulder, spread))
    shoulder *= 0.02
    shoulder += u * (0.004 * light.x)
    shoulder += 0.46
    # The hem of the collar is a little lighter than the cloth.
    spread -= 2.0
    np.abs(spread, out=spread)
    spread *= -0.12
    spread += 0.3
    shoulder += positive(spread)
    value = 0.3 + 0.6 * ((factors.clothes_hue * 7) % 1.0)
    bright = column(hue_color(factors.clothes_hue, 0.5, value))
    dark = column(hue_color(factors.clothes_hue, 0.58, value * 0.45))
    paint = (bright - dark) * unit(shoulder)
    paint += dark
    blend(region, cloth, paint)
    canvas[:, *box] = region


def _paint_neck(
    canvas: np.ndarray, factors: Factors, frame: Frame, light: Light
) -> None:
    box = frame.box(0, 82, 48, 32)
    region = canvas[:, *box].copy()
    if not region.size:
        return
    # Smooth parts are drawn on every other row.
    u, v = frame.grid(box, step=2)
    u -= 4 * frame.sin_yaw
    # The neck widens into the shoulders.
    half_width = positive(v - 70)
    half_width *= half_width
    half_width *= 0.034
    half_width += _NECK_HALF_WIDTH
    across = u / half_width
    half_width -= np.abs(u)
    shade = 1.0 - across * across
    shade.clip(0.03, 1.0, out=shade)
    np.sqrt(shade, out=shade)
    shade *= light.z
    across *= light.x
    shade += across
    positive(shade)
    shade *= 0.8 * light.diffuse
    shade += light.ambient + 0.06
    # The chin's shadow ends in a curve.
    u *= u
    u *= 0.012
    v += u
    v -= 72
    v *= 0.035
    unit(v)
    v *= 0.4
    v += 0.56
    shade *= v
    height = region.shape[1]
    skin, shadow = column(light.skin), column(light.skin_shadow)
    paint = (skin - shadow) * stretch(shade, height)
    paint += shadow
    blend(region, coverage(stretch(half_width, height)), paint)
    canvas[:, *box] = region


def soft_blobs(
    frame: Frame, box: Box, blobs: np.ndarray, layers: Sequence[slice], step: int = 1
) -> list[np.ndarray]:
    """Returns sums of soft blobs over a box.

    A blob is the product of a horizontal and a vertical profile, which is cheap. Its
    position turns with the small roll of the head, but its shape does not.

    Args:
        frame: Frame of the face.
        box: Rows and columns of the image.
        blobs: `[n, 5]`: x, y, radius across, radius down, height.
        layers: Slices of `blobs`, one for each sum.
        step: Step between rows; 2 for every other row.

    Returns:
        Sums of the layers, each `[h, w]`.
    """
    x, y, radius_x, radius_y, height = blobs.T[:, :, None]
    columns, rows = frame.axes(box, step)
    across = columns - (frame.cos_roll * x - frame.sin_roll * y)
    across /= radius_x
    bump(across)
    across *= height * _GRAIN
    down = rows.T - (frame.sin_roll * x + frame.cos_roll * y)
    down /= radius_y
    bump(down)
    down *= _GRAIN
    # A library multiplies the matrices, and may add in any order. Whole numbers below
    # 2**24 have the same sum in every order.
    np.rint(across, out=across)
    np.rint(down, out=down)
    sums = [np.dot(down[layer].T, across[layer]) for layer in layers]
    for total in sums:
        total *= 1 / _GRAIN**2
    return sums
