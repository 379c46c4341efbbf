"""The factors of a synthetic face, and their draw from the face's index.

Each factor is drawn from (seed, index) alone. It depends on no other factor and no
other image.
"""

import dataclasses
import hashlib
import struct
from collections.abc import Sequence

HAIR_COLORS = ("black", "brown", "blond", "gray", "red")
EYE_COLORS = ("brown", "blue", "green", "gray")
GLASSES = ("none", "round", "square", "sunglasses")
BEARDS = ("none", "stubble", "mustache", "goatee", "full")


@dataclasses.dataclass(frozen=True)
class Factors:
    """All factors that decide a face's drawing.

    A factor without a unit or a list of names below lies in [0, 1].

    Attributes:
        yaw: Turn of the head in degrees, positive towards the right of the image.
        roll: Tilt of the head in degrees, positive clockwise.
        scale: Size of the head, 1 for the usual framing.
        shift_x: Offset of the head to the right, in pixels.
        shift_y: Offset of the head downwards, in pixels.
        light_x: Direction of the light, from -1 (left) to 1 (right).
        light_strength: Strength of the light, from dim to bright.
        background_hue: Hue of the background, once around the colour circle.
        background_value: Brightness of the background, from dark to light.
        clothes_hue: Hue of the clothes, once around the colour circle.
        skin_tone: Skin colour, from pale to dark.
        face_width: Width of the face, from narrow to wide.
        jaw_width: Width of the jaw, from pointed to square.
        rosy_cheeks: 1 if the cheeks are flushed, else 0.
        hair_color: One of `HAIR_COLORS`.
        hair_shade: Shade within the hair colour, from dark to light.
        hair_length: Length of the hair; 0 is bald, then from cropped to below the
            shoulders.
        hair_wave: Shape of the hair, from straight to wavy.
        hair_volume: Volume of the hair, from flat to full.
        hair_part: Position of the parting, from -1 (left) to 1 (right).
        has_bangs: 1 if hair falls over the forehead, else 0.
        hairline: Height of the hairline, from low to receding.
        eye_color: One of `EYE_COLORS`.
        eye_size: Size of the eyes, from small to large.
        eye_openness: Opening of the eyes, from narrow to wide open.
        gaze: Direction of the eyes, from -1 (left) to 1 (right).
        brow_thickness: Thickness of the brows, from thin to bushy.
        brow_arch: Shape of the brows, from flat to arched.
        nose_size: Size of the nose, from small to big.
        smile: Strength of the smile, from a frown at 0 to a broad smile.
        mouth_open: Opening of the mouth, from closed to open.
        lip_fullness: Thickness of the lips, from thin to full.
        lipstick: 1 if the lips are painted, else 0.
        beard: One of `BEARDS`.
        glasses: One of `GLASSES`.
        earrings: 1 if the ears carry rings, else 0.
    """

    yaw: float
    roll: float
    scale: float
    shift_x: float
    shift_y: float
    light_x: float
    light_strength: float
    background_hue: float
    background_value: float
    clothes_hue: float
    skin_tone: float
    face_width: float
    jaw_width: float
    rosy_cheeks: int
    hair_color: str
    hair_shade: float
    hair_length: float
    hair_wave: float
    hair_volume: float
    hair_part: float
    has_bangs: int
    hairline: float
    eye_color: str
    eye_size: float
    eye_openness: float
    gaze: float
    brow_thickness: float
    brow_arch: float
    nose_size: float
    smile: float
    mouth_open: float
    lip_fullness: float
    lipstick: int
    beard: str
    glasses: str
    earrings: int


FACTOR_NAMES = tuple(field.name for field in dataclasses.fields(Factors))

# Number of draws per image. Some are unused: a factor that is added at the end takes
# them, and the other factors stay the same.
_NUM_DRAWS = 48


class _Draws:
    """The draws of one image, taken in turn."""

    def __init__(self, seed: int, index: int) -> None:
        # The hash takes a fifth of the time that NumPy needs to make a generator.
        key = struct.pack("<QQ", seed, index)
        digest = hashlib.shake_128(key).digest(8 * _NUM_DRAWS)
        words = struct.unpack(f"<{_NUM_DRAWS}Q", digest)
        self._draws = iter([(word >> 11) * 2.0**-53 for word in words])

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return round(low + (high - low) * next(self._draws), 4)

    def central(self, low: float, high: float) -> float:
        """Returns the mean of two uniform draws, which makes extremes rare."""
        total = next(self._draws) + next(self._draws)
        return round(low + (high - low) / 2 * total, 4)

    def chance(self, probability: float) -> int:
        return int(next(self._draws) < probability)

    def choice(self, names: Sequence[str], weights: Sequence[float]) -> str:
        draw = next(self._draws)
        for name, weight in zip(names, weights, strict=True):
            draw -= weight
            if draw < 0:
                return name
        return names[-1]

    def length(self) -> float:
        """Returns the length of hair: 0 for one face in 14, else 0.05 to 1."""
        draw = next(self._draws)
        return 0.0 if draw < 0.07 else round(0.05 + 0.95 * (draw - 0.07) / 0.93, 4)


def sample_factors(seed: int, index: int) -> Factors:
    """Returns the factors of one image, a pure function of (seed, index).

    The draws are a hash of (seed, index). They need no state of another image, and are
    the same on every machine.

    Args:
        seed: Seed, 0 or more and below 2**64.
        index: Index of the image, from 0.

    Returns:
        The factors. Continuous factors have at most four decimals, so their text is
        their exact value.

    Raises:
        ValueError: If the seed or the index is negative or has more than 64 bits.

    Example:
        >>> sample_factors(0, 7) == sample_factors(0, 7)
        True
    """
    for name, value in (("seed", seed), ("index", index)):
        if not 0 <= value < 2**64:
            raise ValueError(f"{name}={value} must be from 0 to 2**64-1")
    draws = _Draws(seed, index)
    return Factors(
        yaw=draws.central(-26, 26),
        roll=draws.central(-8, 8),
        scale=draws.central(0.92, 1.08),
        shift_x=draws.central(-5, 5),
        shift_y=draws.central(-5, 5),
        light_x=draws.uniform(-1, 1),
        light_strength=draws.uniform(),
        background_hue=draws.uniform(),
        background_value=draws.uniform(),
        clothes_hue=draws.uniform(),
        skin_tone=draws.uniform(),
        face_width=draws.central(0, 1),
        jaw_width=draws.central(0, 1),
        rosy_cheeks=draws.chance(0.2),
        hair_color=draws.choice(HAIR_COLORS, (0.3, 0.28, 0.2, 0.1, 0.12)),
        hair_shade=draws.uniform(),
        hair_length=draws.length(),
        hair_wave=draws.uniform(),
        hair_volume=draws.uniform(),
        hair_part=draws.uniform(-1, 1),
        has_bangs=draws.chance(0.25),
        hairline=draws.uniform(),
        eye_color=draws.choice(EYE_COLORS, (0.45, 0.25, 0.17, 0.13)),
        eye_size=draws.central(0, 1),
        eye_openness=draws.uniform(),
        gaze=draws.central(-1, 1),
        brow_thickness=draws.uniform(),
        brow_arch=draws.uniform(),
        nose_size=draws.uniform(),
        smile=draws.uniform(),
        mouth_open=draws.uniform(),
        lip_fullness=draws.uniform(),
        lipstick=draws.chance(0.3),
        beard=draws.choice(BEARDS, (0.64, 0.08, 0.08, 0.08, 0.12)),
        glasses=draws.choice(GLASSES, (0.76, 0.1, 0.09, 0.05)),
        earrings=draws.chance(0.2),
    )
