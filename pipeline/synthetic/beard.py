"""Paints the beard, from stubble to full."""

import numpy as np

from pipeline.synthetic.canvas import (
    blend,
    column,
    coverage,
    mix,
    positive,
    scaled,
    unit,
)
from pipeline.synthetic.factors import Factors
from pipeline.synthetic.frame import HEAD_HEIGHT, MOUTH_LIFT, MOUTH_Y, Frame
from pipeline.synthetic.hair import strands
from pipeline.synthetic.head import head_radius
from pipeline.synthetic.light import Light


def paint_beard(
    canvas: np.ndarray, factors: Factors, frame: Frame, light: Light
) -> None:
    """Paints the beard, if the face has one; the mouth is painted over it."""
    if factors.beard == "none":
        return
    mouth_x, _ = frame.project(0, MOUTH_Y, lift=MOUTH_LIFT)
    has_jaw = factors.beard in ("full", "stubble")
    bottom = 34.0 if factors.beard == "mustache" else HEAD_HEIGHT + 6
    box = (
        frame.box(0, 43, frame.half_width + 4, 38)
        if has_jaw
        else frame.box(mouth_x, 20 + bottom / 2, 24, bottom / 2 - 10)
    )
    u, v = frame.grid(box)
    _, y, squared = head_radius(u, v, frame)
    outline = np.sqrt(squared, out=squared)
    outline *= -frame.half_width
    outline += frame.half_width
    if factors.beard in ("full", "goatee"):
        outline += unit(y) * 3.5
    texture = strands(u * 9.0 + 900.0, v * 0.3 + 64.0)
    u -= mouth_x
    alpha = _moustache(u, v)
    if factors.beard == "goatee":
        np.maximum(alpha, _chin(u, v), out=alpha)
    elif has_jaw:
        u += mouth_x * 0.4
        np.maximum(alpha, _jaw(u, v, frame), out=alpha)
    alpha *= coverage(outline)
    u *= 0.005 * light.x
    u += 0.8
    u += texture * 0.22
    if factors.beard == "stubble":
        alpha *= 0.34
    else:
        texture *= 0.16
        texture += 0.9
        alpha *= unit(texture)
    color = mix(scaled(light.hair, 0.85), light.skin_shadow, 0.25)
    region = canvas[:, *box].copy()
    blend(region, alpha, column(color) * u)
    canvas[:, *box] = region


def _moustache(x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Returns the coverage of the hair between nose and mouth.

    Args:
        x: Distance to the right of the middle of the mouth.
        v: Distance below the eyes.
    """
    x = np.abs(x)
    # Two wings that droop from the philtrum to the corners of the mouth.
    y = x * x
    y *= -0.022
    y += v
    y -= 33.0
    np.abs(y, out=y)
    y += x * 0.1
    y *= -0.5
    y += 2.35
    unit(y)
    x *= -0.3
    x += 6.3
    y *= unit(x)
    return y


def _chin(x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Returns the coverage of the hair on the chin and beside the mouth."""
    x = np.abs(x)
    chin = unit((17.5 - x - positive(v - 56) * 0.4) * 0.25)
    chin *= unit((v - 51.5 - x * 0.05) * 0.2)
    sides = unit((3.6 - np.abs(x - 18.0 + (v - 36) * 0.06)) * 0.4 + 0.2)
    sides *= unit((v - 36) * 0.4)
    sides *= unit((60 - v) * 0.2)
    return np.maximum(chin, sides, out=chin)


def _jaw(x: np.ndarray, v: np.ndarray, frame: Frame) -> np.ndarray:
    """Returns the coverage of the hair on jaw and cheeks."""
    # The upper edge climbs from the mouth to the temples.
    x = x * (1 / frame.half_width)
    x *= x
    edge = x * 24.0
    edge += 22.0
    edge *= x
    edge += v
    edge -= 47.0
    edge *= 0.16
    return coverage(edge)
