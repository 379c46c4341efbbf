"""Paints the mouth: lips, the gap between them, and teeth."""

import numpy as np

from pipeline.synthetic.canvas import Color, blend, column, coverage, mix, unit
from pipeline.synthetic.factors import Factors
from pipeline.synthetic.frame import MOUTH_LIFT, MOUTH_Y, Frame
from pipeline.synthetic.light import Light

# Share of a smile that lifts the corners; the rest lowers the middle of the mouth.
MOUTH_RISE = 0.45
_LIPSTICK: Color = (196, 28, 58)
_INSIDE: Color = (66, 20, 24)
_TEETH: Color = (240, 234, 226)
_ONE = np.array(1, np.float32)


def mouth_shape(factors: Factors) -> tuple[float, float, float]:
    """Returns the mouth's half width, the drop of its middle, and half its gap."""
    half_width = 14.5 + 4.5 * factors.smile
    drop = 8.0 * (factors.smile - 0.2)
    gap = 5.0 * max(0.0, factors.mouth_open - 0.35) + 0.25
    return half_width, drop, gap


def paint_mouth(
    canvas: np.ndarray, factors: Factors, frame: Frame, light: Light
) -> None:
    """Paints the mouth, whose corners rise with a smile."""
    half_width, drop, gap = mouth_shape(factors)
    mouth_x, mouth_y = frame.project(0, MOUTH_Y, lift=MOUTH_LIFT)
    half_width *= frame.cos_yaw
    box = frame.box(mouth_x, mouth_y + 1, half_width + 3, 15)
    region = canvas[:, *box].copy()
    x, y = frame.grid(box)
    x -= mouth_x
    x *= 1 / half_width
    y -= mouth_y - MOUTH_RISE * drop
    arch = x * x
    np.subtract(_ONE, arch, out=arch)
    full = 0.7 + 0.6 * factors.lip_fullness
    upper, lower = 3.9 * full, 5.0 * full
    # Distances below the inner edges of the upper and the lower lip.
    below_upper = arch * (gap * 0.5 - drop)
    below_upper += y
    below_lower = arch * (gap * -1.5 - drop)
    below_lower += y
    # Cupid's bow: two peaks beside a small dip.
    side = np.abs(x)
    dip = side * -4.2
    dip += 1.0
    unit(dip)
    dip *= -0.24 * upper
    dip += upper
    dip *= arch
    dip += below_upper
    swollen = arch * lower
    soft = swollen - below_lower
    np.minimum(dip, soft, out=soft)
    soft *= 0.75
    soft += 0.5
    # The upper lip faces down and is darker; the lower lip catches the light.
    swollen += 0.6
    height = unit(np.divide(below_lower, swollen, out=swollen))
    swell = height * height
    np.subtract(height, swell, out=swell)
    swell *= 4.0
    lit = x - 0.3 * light.x
    lit *= lit
    lit *= -2.2
    lit += 1.0
    unit(lit)
    tone = swell * 0.26
    tone += lit * 0.06
    tone += 0.62 + 0.12 * factors.light_strength
    paint = column(_lip_color(factors, light)) * tone
    swell *= swell
    swell *= lit
    swell *= 46.0 if factors.lipstick else 26.0
    paint += swell
    blend(region, unit(soft), paint)
    _paint_inside(region, (below_upper, below_lower, side, arch), gap, frame)
    canvas[:, *box] = region


def _lip_color(factors: Factors, light: Light) -> Color:
    natural = mix(mix(light.skin, (188, 72, 80), 0.5), light.skin_shadow, 0.12)
    return mix(natural, _LIPSTICK, 0.78) if factors.lipstick else natural


def _paint_inside(
    region: np.ndarray,
    shape: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    gap: float,
    frame: Frame,
) -> None:
    """Paints the inside between the lips, or the line where they meet."""
    below_upper, below_lower, side, arch = shape
    inside = np.minimum(below_upper, -below_lower)
    inside += 0.35
    inside *= frame.scale
    coverage(inside)
    ends = side * -8.0
    ends += 8.24
    inside *= unit(ends)
    inside *= 0.9
    if gap <= 1.0:
        blend(region, inside, _INSIDE)
        return
    # Teeth hang from the upper lip and fade towards the corners.
    length = arch * (gap * 1.3)
    length -= below_upper
    below_upper += 0.3
    teeth = coverage(np.minimum(length, below_upper, out=length))
    side *= -4.0
    side += 3.44
    teeth *= unit(side)
    unit(arch)
    arch *= 0.3
    arch += 0.7
    arch *= teeth
    teeth *= -0.8
    teeth += 1.0
    paint = column(_TEETH) * arch
    paint += column(_INSIDE) * teeth
    blend(region, inside, paint)
