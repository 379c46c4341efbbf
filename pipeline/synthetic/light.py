"""The light on a face, and the colours that skin and hair take in it."""

import dataclasses
import math

from pipeline.synthetic.canvas import Color, mix, scaled
from pipeline.synthetic.factors import Factors

_SKIN_TONES: tuple[Color, ...] = (
    (255, 228, 210),
    (250, 210, 182),
    (236, 188, 152),
    (208, 152, 114),
    (162, 110, 78),
    (112, 74, 54),
)
_HAIR_COLORS: dict[str, Color] = {
    "black": (58, 48, 47),
    "brown": (112, 74, 48),
    "blond": (222, 184, 120),
    "gray": (172, 170, 169),
    "red": (172, 84, 44),
}


@dataclasses.dataclass(frozen=True)
class Light:
    """A distant lamp, the ambient light, and the colours under them.

    Attributes:
        x: Component of the unit vector towards the lamp, to the right.
        y: Component of the same vector, down.
        z: Component of the same vector, towards the viewer.
        ambient: Brightness of skin that the lamp does not reach.
        diffuse: Brightness that the lamp adds at perpendicular incidence.
        gloss: Brightness of the specular highlight.
        skin: Colour of fully lit skin.
        skin_shadow: Colour of unlit skin; darker and redder than lit skin.
        hair: Colour of hair, brows and beard, even if the face has none.
    """

    x: float
    y: float
    z: float
    ambient: float
    diffuse: float
    gloss: float
    skin: Color
    skin_shadow: Color
    hair: Color


def aim_light(factors: Factors) -> Light:
    """Returns the light of a face."""
    x, y = 0.62 * factors.light_x, -0.42
    strength = factors.light_strength
    r, g, b = skin = _skin_color(factors)
    return Light(
        x=x,
        y=y,
        z=math.sqrt(1 - x * x - y * y),
        ambient=0.24 + 0.14 * strength,
        diffuse=0.66 + 0.06 * strength,
        gloss=0.05 + 0.11 * strength,
        skin=skin,
        skin_shadow=(r * 0.38, g * 0.25, b * 0.23),
        hair=scaled(_HAIR_COLORS[factors.hair_color], 0.8 + 0.4 * factors.hair_shade),
    )


def _skin_color(factors: Factors) -> Color:
    position = factors.skin_tone * (len(_SKIN_TONES) - 1)
    index = min(int(position), len(_SKIN_TONES) - 2)
    return mix(_SKIN_TONES[index], _SKIN_TONES[index + 1], position - index)
