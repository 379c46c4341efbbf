"""Paints glasses: round, square, or dark."""

import numpy as np

from pipeline.synthetic.canvas import Color, blend, coverage, positive, unit
from pipeline.synthetic.factors import Factors
from pipeline.synthetic.frame import EYE_X, EYE_Y, Frame

_FRAME: Color = (38, 30, 30)
# (half width, half height, corner radius, rim) in head units.
_SHAPES = {
    "round": (14.5, 13.5, 13.0, 1.1),
    "square": (16.0, 11.5, 4.5, 1.5),
    "sunglasses": (16.5, 13.0, 8.0, 1.3),
}


def paint_glasses(canvas: np.ndarray, factors: Factors, frame: Frame) -> None:
    """Paints the glasses, if the face has any, over the eyes and brows."""
    if factors.glasses == "none":
        return
    half_x, half_y, corner, rim = _SHAPES[factors.glasses]
    left, y = frame.project(-EYE_X, EYE_Y + 1.5, lift=4.0)
    right, _ = frame.project(EYE_X, EYE_Y + 1.5, lift=4.0)
    left_half = half_x * frame.foreshortening(-EYE_X, EYE_Y)
    right_half = half_x * frame.foreshortening(EYE_X, EYE_Y)
    corner = min(corner, left_half - 0.5, right_half - 0.5)
    start, end = left - left_half, right + right_half
    reach = max(frame.half_width, -start, end) + 2
    box = frame.box(0, y, reach, half_y + 2)
    region = canvas[:, *box].copy()
    u, v = frame.grid(box)
    v -= y
    # Horizontal distance from the middle of the nearer lens.
    is_right = (u * 2.0 > left + right).astype(np.float32)
    x = u - left
    x -= is_right * (right - left)
    # Signed distance to a rounded rectangle, positive outside.
    outside_x = np.abs(x)
    outside_x -= is_right * (right_half - left_half)
    outside_x -= left_half - corner
    positive(outside_x)
    outside_x *= outside_x
    outside_y = np.abs(v)
    outside_y -= half_y - corner
    positive(outside_y)
    outside_y *= outside_y
    outside_x += outside_y
    distance = np.sqrt(outside_x, out=outside_x)
    distance -= corner
    distance *= frame.scale
    _paint_glass(region, factors, coverage(-distance), x, v)

    np.abs(distance, out=distance)
    np.subtract(rim * frame.scale, distance, out=distance)
    # The arms reach from the lenses to the ears, as far as they are visible.
    arms = np.maximum(start - u, u - end)
    arms += 1.0
    unit(arms)
    arms *= unit((frame.half_width + 0.5) - np.abs(u))
    arms *= coverage((1.2 - np.abs(v + 4.5)) * frame.scale)
    bridge_x, _ = frame.project(0, EYE_Y - 1.0, lift=6.0)
    u -= bridge_x
    v += 2.5
    v -= u * u * 0.07
    bridge = coverage((1.1 - np.abs(v)) * frame.scale)
    bridge *= unit(6.0 - np.abs(u))
    line = np.maximum(coverage(distance), arms)
    blend(region, np.maximum(line, bridge, out=line), _FRAME)
    canvas[:, *box] = region


def _paint_glass(
    region: np.ndarray,
    factors: Factors,
    glass: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
) -> None:
    """Paints both lenses.

    Args:
        region: Copy of the canvas.
        factors: Factors of the face.
        glass: Coverage of the lenses.
        x: Distance to the right of the middle of the nearer lens.
        y: Distance below the middle of the nearer lens.
    """
    # A band of reflected light from the upper right to the lower left.
    shine = y * 0.7
    shine += x
    shine += 4.0
    np.abs(shine, out=shine)
    shine *= -0.12
    shine += 1.0
    unit(shine)
    shine *= glass
    if factors.glasses == "sunglasses":
        blend(region, glass * 0.93, (30, 27, 32))
        blend(region, glass * (unit(0.5 - y * 0.05) * 0.22), (150, 160, 180))
        blend(region, shine * 0.2, 255.0)
    else:
        glass *= 0.06
        shine *= 0.16
        shine += glass
        blend(region, shine, 248.0)
