"""Paints the ears, and the lit skin with the relief of brow, cheeks, nose and chin."""

import numpy as np

from pipeline.synthetic.canvas import (
    Color,
    blend,
    column,
    coverage,
    mix,
    positive,
    stretch,
    unit,
)
from pipeline.synthetic.factors import Factors
from pipeline.synthetic.frame import (
    EYE_X,
    HEAD_DEPTH,
    HEAD_HEIGHT,
    HEAD_SQUARENESS,
    NOSE_LIFT,
    NOSE_Y,
    Box,
    Frame,
    per_side,
    take_pair,
)
from pipeline.synthetic.light import Light
from pipeline.synthetic.scene import soft_blobs

# Shapes that turn an egg into a face: (x, y, radius_x, radius_y, height), head units.
_BLOBS = np.array(
    [
        # The relief.
        (0.0, -34.0, 36.0, 24.0, 2.0),  # forehead
        (-20.0, -13.0, 17.0, 10.0, 1.7),  # brow ridge
        (20.0, -13.0, 17.0, 10.0, 1.7),
        (-18.5, 1.0, 16.0, 12.0, -3.0),  # eye sockets
        (18.5, 1.0, 16.0, 12.0, -3.0),
        (0.0, 35.0, 4.0, 8.0, -0.8),  # philtrum
        (0.0, 53.0, 13.0, 6.0, -1.6),  # under the lower lip
        (0.0, 62.0, 16.0, 12.0, 2.6),  # chin
        (-25.0, 19.0, 18.0, 14.0, 1.8),  # cheekbones
        (25.0, 19.0, 18.0, 14.0, 1.8),
        (-30.0, 42.0, 13.0, 18.0, -1.2),  # hollows of the cheeks
        (30.0, 42.0, 13.0, 18.0, -1.2),
        (0.0, 5.0, 8.0, 28.0, 3.4),  # ridge of the nose
        (0.0, 19.5, 8.5, 8.5, 3.8),  # tip of the nose
        (-7.0, 21.5, 5.5, 5.5, 2.4),  # wings of the nose
        (7.0, 21.5, 5.5, 5.5, 2.4),
        # The dark below the nose and in the nostrils.
        (0.0, NOSE_Y + 6.0, 12.0, 6.0, 0.3),
        (0.0, NOSE_Y + 3.0, 3.8, 3.0, 0.75),
        (0.0, NOSE_Y + 3.0, 3.8, 3.0, 0.75),
        # The red of the cheeks and of the tip of the nose.
        (-EYE_X - 6.0, 21.0, 17.0, 14.0, 0.1),
        (EYE_X + 6.0, 21.0, 17.0, 14.0, 0.1),
        (0.0, 19.0, 9.0, 8.0, 0.12),
    ],
    np.float32,
)
_LAYERS = slice(0, 16), slice(16, 19), slice(19, 22)
_CHEEKS, _NOSE, _UNTURNED = slice(8, 12), slice(12, 19), slice(12, 22)
_TIP_AND_WINGS, _WINGS = slice(13, 16), slice(14, 16)
_UNDER_NOSE, _FLUSH = slice(16, 19), slice(19, 21)
# The nose stands out from the head, most of all at its tip.
_LIFT = np.zeros(len(_BLOBS), np.float32)
_LIFT[12:16] = 2.0 + 0.35 * _BLOBS[12:16, 1]
_LIFT[16:19] = _LIFT[21] = NOSE_LIFT
_GOLD: Color = (226, 182, 84)
_PALE_GOLD: Color = (255, 240, 190)
_LEAN = per_side(-0.16, 0.16)


def paint_ears(
    canvas: np.ndarray, factors: Factors, frame: Frame, light: Light
) -> None:
    """Paints both ears and their rings; the head hides most of a far ear."""
    skin, shadow = light.skin, light.skin_shadow
    offset = frame.half_width + 0.5
    turn = 9.0 * frame.sin_yaw
    centers = ((-offset - turn, 9.0), (offset - turn, 9.0))
    pair = take_pair(canvas, frame, centers, 8.0, 15.0)
    # The lobe is narrower than the top, and the whole ear leans outwards.
    across = pair.y * _LEAN
    across += pair.x
    narrow = pair.y * (0.018 / 6.5)
    narrow += 1 / 6.5
    across *= narrow
    across *= across
    down = pair.y * (1 / 14.0)
    down *= down
    across += down
    squared = across
    distance = np.sqrt(squared)
    distance *= -7.5
    distance += 7.5
    lit = [
        mix(shadow, skin, light.ambient + 0.1 + light.diffuse * 0.6 * (1 + s * light.x))
        for s in (-0.6, 0.6)
    ]
    blend(
        pair.region, coverage(distance), np.array(lit, np.float32).T[:, :, None, None]
    )
    squared *= -1.9
    squared += 1.0
    inner = positive(squared)
    inner *= 0.7
    blend(pair.region, inner, column(mix(shadow, skin, 0.32))[:, None])
    pair.restore(canvas)
    if factors.earrings:
        _paint_earrings(canvas, frame, centers)


def _paint_earrings(
    canvas: np.ndarray,
    frame: Frame,
    ears: tuple[tuple[float, float], tuple[float, float]],
) -> None:
    (left, y), (right, _) = ears
    pair = take_pair(canvas, frame, ((left + 1, y + 16), (right - 1, y + 16)), 5, 5)
    radius = np.sqrt(pair.x * pair.x + pair.y * pair.y)
    ring = coverage(1.4 - np.abs(radius - 2.6))
    glint = unit(0.5 - (pair.x + pair.y) * 0.2)
    gold, pale = column(_GOLD)[:, None], column(_PALE_GOLD)[:, None]
    blend(pair.region, ring, gold + (pale - gold) * glint)
    pair.restore(canvas)


def head_radius(
    u: np.ndarray, v: np.ndarray, frame: Frame
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns x over the head's half width, y over its height, and a squared radius.

    The jaw tapers: the half width shrinks from the eyes to the chin. The radius is
    below 1 inside the head, which is a little blunter than an ellipse.
    """
    y = v * (1 / HEAD_HEIGHT)
    low = y.clip(0.0, 1.0)
    low *= low
    low *= -frame.jaw_taper * frame.half_width
    low += frame.half_width
    x = u / low
    x2, y2 = x * x, y * y
    squared = x2 + y2
    x2 *= y2
    x2 *= HEAD_SQUARENESS
    squared -= x2
    return x, y, squared


def paint_head(
    canvas: np.ndarray, factors: Factors, frame: Frame, light: Light
) -> None:
    """Paints the skin of the head as a lit egg with bumps."""
    box = frame.box(0, 0, frame.half_width + 1, HEAD_HEIGHT + 1)
    region = canvas[:, *box].copy()
    paint, distance = _lit_skin(factors, frame, light, box)
    height = region.shape[1]
    blend(region, coverage(stretch(distance, height)), stretch(paint, height))
    canvas[:, *box] = region


def _lit_skin(
    factors: Factors, frame: Frame, light: Light, box: Box
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the skin, `[3, h, w]`, and the distance inside the head, `[h, w]`.

    Both are for every other row of the box.
    """
    u, v = frame.grid(box, step=2)
    normal_x, normal_y, squared = head_radius(u, v, frame)
    normal_z = np.sqrt((1.0 - squared).clip(0.04, 1.0))
    distance = np.sqrt(squared, out=squared)
    distance *= -frame.half_width * 1.1 * frame.scale
    distance += frame.half_width * 1.1 * frame.scale
    blobs = _place_blobs(factors, frame, light)
    relief, hollow, blush = soft_blobs(frame, box, blobs, _LAYERS, step=2)
    # Slopes are central differences over four rows and two columns. The normals of a
    # bump lean away from its top.
    relief *= 0.27
    slope = relief[:, :-2] - relief[:, 2:]
    slope *= 2.0
    normal_x[:, 1:-1] += slope
    normal_y[1:-1] += relief[:-2]
    normal_y[1:-1] -= relief[2:]

    lit = normal_x * light.x
    lit += normal_y * light.y
    lit += normal_z * light.z
    normal_x *= normal_x
    normal_y *= normal_y
    normal_z *= normal_z
    normal_x += normal_y
    normal_x += normal_z
    lit /= np.sqrt(normal_x, out=normal_x)
    # Light wraps around skin a little beyond the horizon.
    lit += 0.3
    lit *= 1 / 1.3
    positive(lit)
    gloss = lit * lit
    gloss *= gloss
    gloss *= gloss
    gloss *= 255 * light.gloss
    lit *= light.diffuse
    lit += light.ambient
    lit -= hollow

    skin, shadow = column(light.skin), column(light.skin_shadow)
    paint = (skin - shadow) * lit
    paint += shadow
    paint += gloss
    # Flushed skin reflects less green and blue.
    blush *= -0.42
    blush += 1.0
    paint[1:] *= blush
    return paint, distance


def _place_blobs(factors: Factors, frame: Frame, light: Light) -> np.ndarray:
    """Returns the `_BLOBS` of one face at their visible positions."""
    nose = 0.8 + 0.45 * factors.nose_size
    smile = max(0.0, factors.smile - 0.25)
    blobs = _BLOBS.copy()
    blobs[_CHEEKS, 4] += (2.2 * smile, 2.2 * smile, -1.4 * smile, -1.4 * smile)
    blobs[_NOSE, 2] *= nose
    blobs[_WINGS, 0] *= nose
    blobs[_TIP_AND_WINGS, 4] *= nose
    if factors.rosy_cheeks:
        blobs[_FLUSH, 4] *= 4.2
    # The same as `Frame.project`, for all blobs at once.
    x, y = blobs[:, 0] * (1 / frame.half_width), blobs[:, 1] * (1 / HEAD_HEIGHT)
    front = np.sqrt((1.0 - x * x - y * y).clip(0.05, 1.0))
    narrow = frame.cos_yaw - (HEAD_DEPTH / frame.half_width) * frame.sin_yaw * x / front
    blobs[:, 0] *= frame.cos_yaw
    blobs[:, 0] += (HEAD_DEPTH * front + _LIFT) * frame.sin_yaw
    narrow[_UNTURNED] = 1.0
    blobs[:, 2] *= narrow.clip(0.45, 2.0)
    # The nose casts its shadow away from the light.
    blobs[_UNDER_NOSE, 0] += (-3.0 * light.x, -4.4 * nose, 4.4 * nose)
    return blobs
