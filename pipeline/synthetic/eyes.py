"""Paints the eyes with their lids and lashes, and the brows above them."""

import numpy as np

from pipeline.synthetic.canvas import (
    Color,
    blend,
    column,
    coverage,
    mix,
    positive,
    scaled,
    unit,
)
from pipeline.synthetic.factors import Factors
from pipeline.synthetic.frame import EYE_X, EYE_Y, Frame, Pair, per_side, take_pair
from pipeline.synthetic.light import Light

_IRIS_COLORS: dict[str, Color] = {
    "brown": (112, 70, 38),
    "blue": (86, 138, 190),
    "green": (104, 140, 86),
    "gray": (136, 146, 152),
}
_IRISES = {name: column(color)[:, None] for name, color in _IRIS_COLORS.items()}
_LASH: Color = (34, 22, 20)
_WHITE = column((244, 238, 236))[:, None]
_ONE = np.array(1, np.float32)
_BROW_X, _BROW_Y = 20.5, -15.0
# 1 for the right eye of the image and -1 for the left eye, so outwards is positive.
_SIDE = per_side(-1, 1)


def paint_eyes(
    canvas: np.ndarray, factors: Factors, frame: Frame, light: Light
) -> None:
    """Paints both eyes and both brows."""
    size = 0.9 + 0.28 * factors.eye_size
    bottom, top = 7.0 * size, _BROW_Y - 7.5
    middle = (bottom + top) / 2
    eyes = frame.project(-EYE_X, EYE_Y), frame.project(EYE_X, EYE_Y)
    centers = (eyes[0][0], middle), (eyes[1][0], middle)
    pair = take_pair(canvas, frame, centers, 17.0, bottom - middle)
    np.add(pair.y, middle, out=pair.y)
    _paint_eyes(pair, factors, frame, light)
    _paint_brows(pair, factors, frame, light)
    pair.restore(canvas)


def _paint_eyes(pair: Pair, factors: Factors, frame: Frame, light: Light) -> None:
    """Paints both eyes; positions in `pair` are relative to their middles."""
    region = pair.region
    size = 0.9 + 0.28 * factors.eye_size
    width = per_side(
        frame.foreshortening(-EYE_X, EYE_Y), frame.foreshortening(EYE_X, EYE_Y)
    )
    # Outwards from the middle of the eye; 1 at the outer corner.
    x = pair.x * (_SIDE / (10.8 * size * width))
    # The outer corner lies a little higher than the inner one.
    y = x * 0.8
    y += pair.y
    arch = x * x
    np.subtract(_ONE, arch, out=arch)
    openness = (0.34 + 0.66 * factors.eye_openness) * size
    # The upper lid is fuller towards the nose, the lower lid away from it.
    height, depth = 6.6 * openness + 0.6, 1.4 + 2.4 * openness
    top = x * (0.14 * height)
    top -= height
    top *= arch
    bottom = x * (0.12 * depth)
    bottom += depth
    bottom *= arch
    bottom -= y
    below_lid = y - top
    opening = coverage(np.minimum(below_lid, bottom))

    # The crease of the upper lid, and the edge of the lower lid.
    top *= -0.1
    top += below_lid
    top += 1.8 + 1.5 * openness
    crease = np.abs(top, out=top)
    crease *= -0.32
    crease += 0.5
    bottom += 0.7
    edge = np.abs(bottom, out=bottom)
    edge *= -0.4
    edge += 0.45
    lids = np.maximum(crease, edge, out=crease)
    inside = np.abs(x)
    np.subtract(1.14, inside, out=inside)
    inside *= 3.0
    unit(inside)
    lids *= inside
    positive(lids)
    blend(region, lids, mix(light.skin, light.skin_shadow, 0.72))
    eyeball = _eyeball(factors, light, (pair.x, y), below_lid, arch, size)
    blend(region, opening, eyeball)

    # Lashes: a dark line along the upper lid, thinnest at the inner corner.
    unit(arch)
    arch *= 0.8
    x *= 0.3
    arch += x
    arch += 0.75
    below_lid += 0.5
    lash = coverage(arch - np.abs(below_lid, out=below_lid))
    inside *= 0.92
    lash *= inside
    blend(region, lash, mix(_LASH, light.skin_shadow, 0.15))


def _eyeball(
    factors: Factors,
    light: Light,
    place: tuple[np.ndarray, np.ndarray],
    below_lid: np.ndarray,
    arch: np.ndarray,
    size: float,
) -> np.ndarray:
    """Returns the colours of the white, the iris, the pupil and the highlight."""
    # The upper lid shades the ball, and the ball rounds away at the corners.
    lid_shadow = unit(below_lid * 0.28)
    brightness = 0.8 + 0.2 * factors.light_strength
    shade = lid_shadow * (0.36 * brightness)
    shade += arch * (0.12 * brightness)
    shade += 0.5 * brightness
    paint = _WHITE * shade

    radius = 5.3 * size
    dx = place[0] - 2.2 * factors.gaze
    dy = place[1] + 0.6
    distance = dx * dx
    distance += dy * dy
    np.sqrt(distance, out=distance)
    np.subtract(radius, distance, out=distance)
    # The iris is brighter below, where the cornea gathers light, and dark at the rim.
    glow = dy * (0.4 / radius)
    glow += 0.9
    lid_shadow *= 0.45
    lid_shadow += 0.55
    glow *= lid_shadow
    rim = distance * 0.36
    rim += 0.42
    glow *= unit(rim)
    # The pupil keeps a little of the colour of the iris.
    pupil = coverage(distance - radius * 0.54)
    pupil *= -0.87
    pupil += 1.0
    glow *= pupil
    blend(paint, coverage(distance), _IRISES[factors.eye_color] * glow)
    dx -= 0.9 + 1.4 * light.x
    dy += radius * 0.38
    dx *= dx
    dy *= dy
    dx += dy
    # At the edge the squared distance grows by twice the radius per pixel.
    dx *= -0.5 / 1.45
    dx += 0.5 * 1.45
    blend(paint, coverage(dx), 252.0)
    return paint


def _paint_brows(pair: Pair, factors: Factors, frame: Frame, light: Light) -> None:
    """Paints both brows; positions in `pair` are relative to the eyes' middles."""
    thickness = 1.1 + 2.1 * factors.brow_thickness
    left, right = -_BROW_X, _BROW_X
    # Distance from the middle of the eye to the middle of the brow.
    shift = per_side(
        frame.project(left, _BROW_Y, lift=1.0)[0] - frame.project(-EYE_X, EYE_Y)[0],
        frame.project(right, _BROW_Y, lift=1.0)[0] - frame.project(EYE_X, EYE_Y)[0],
    )
    width = per_side(
        frame.foreshortening(left, _BROW_Y), frame.foreshortening(right, _BROW_Y)
    )
    x = pair.x - shift
    x *= _SIDE / (14.0 * width)
    # The brow rises from the nose (x = -1) to two thirds, then falls to the temple.
    rise = 0.6 * (1.0 + 3.4 * factors.brow_arch)
    bend = x - 0.25
    bend *= bend
    bend *= -1.2 * rise
    bend += pair.y
    bend += rise - _BROW_Y
    half = x * (-0.6 * thickness)
    half += 0.8 * thickness
    half.clip(0.0, thickness, out=half)
    half -= np.abs(bend, out=bend)
    half *= 0.6
    brow = coverage(half)
    np.abs(x, out=x)
    x *= -5.0
    x += 5.0
    brow *= unit(x)
    brow *= 0.86
    blend(pair.region, brow, mix(scaled(light.hair, 0.62), (40, 30, 26), 0.25))
