"""Paints hair: behind the head, and in front of it as a cap, curtains and bangs."""

import dataclasses

import numpy as np

from pipeline.synthetic.canvas import (
    blend_tone,
    coverage,
    positive,
    smooth_noise,
    stretch,
    unit,
)
from pipeline.synthetic.factors import Factors
from pipeline.synthetic.frame import (
    HEAD_DEPTH,
    HEAD_HEIGHT,
    HEAD_SQUARENESS,
    Box,
    Frame,
)
from pipeline.synthetic.light import Light

# Hair longer than this covers the ears.
_LONG = 0.4
# Strand brightness varies fast across the strands, and slowly along them.
_ACROSS, _ALONG = 1024, 64
_STRANDS = np.ascontiguousarray(
    0.45 * smooth_noise(_ACROSS, _ALONG, (90, 4), seed=2)
    + 0.4 * smooth_noise(_ACROSS, _ALONG, (48, 3), seed=3)
    + 0.4 * smooth_noise(_ACROSS, _ALONG, (17, 2), seed=4)
).ravel()


@dataclasses.dataclass(frozen=True, slots=True)
class Hair:
    """The hair of one face, within the box that holds it.

    Attributes:
        box: Rows and columns of the image.
        front: `[h, w]`, coverage of the hair in front of the head.
        tone: `[h, w]`, brightness of the hair in front of the head.
        window_box: Rows and columns of the image around the opening for the face,
            where the hair behind the head is visible.
        back: Coverage of the hair behind the head, in the window box.
        back_tone: Brightness of the hair behind the head, in the window box.
        light: Share of the light that passes the hair in front, in the window box.
    """

    box: Box
    front: np.ndarray
    tone: np.ndarray
    window_box: Box
    back: np.ndarray
    back_tone: np.ndarray
    light: np.ndarray


def strands(across: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Returns the brightness of strands, about -1 to 1.

    Args:
        across: Position across the strands in cells of the texture, 0 or more; the
            texture repeats after 1024 cells.
        along: Position along the strands in cells of the texture, which repeats after
            64 cells. It broadcasts to `across`.
    """
    row = across.astype(np.int32)
    row &= _ACROSS - 1
    row *= _ALONG
    row += along.astype(np.int32) & (_ALONG - 1)
    return _STRANDS.take(row)


def wave(position: np.ndarray) -> np.ndarray:
    """Returns a smooth wave of period 2 and height 1, made of parabolas."""
    phase = position - 2.0 * np.floor(position * 0.5) - 1.0
    return 4.0 * phase * (1.0 - np.abs(phase))


def grow_hair(factors: Factors, frame: Frame, light: Light) -> Hair | None:
    """Returns the hair of a face, or None for a bald face."""
    length = factors.hair_length
    if length <= 0:
        return None
    is_long = length > _LONG
    # Cropped hair ends above or beside the ears; long hair may leave the image.
    end = 18 + (length - _LONG) * 190 if is_long else -14 + length * 50
    volume = 3.0 + 6.0 * factors.hair_volume + (3.0 if is_long else 0.0)
    half_width = frame.half_width + volume
    top = HEAD_HEIGHT + volume + 1.0
    reach = half_width * (1.3 if is_long else 1.1) + 4
    box = frame.box(0, (end - top) / 2, reach, (end + top) / 2 + 5)
    # Smooth parts are drawn on every other row.
    u, v = frame.grid(box, step=2)
    rows = frame.axes(box, step=2)[1]

    ripple = wave(rows * 0.045 + factors.hair_part) * (5.0 * factors.hair_wave)
    ripple *= unit((rows + 30) * 0.02)
    inside, radius = _outline(factors, (u, v, rows), ripple, (half_width, top, end))
    along = rows * 0.16 + (factors.hair_shade * 64 + 64)
    texture = strands(_across(factors, u, rows, ripple, top), along)
    # Strands make the outline uneven, especially at the tips.
    ragged = unit((rows + 80) * 0.01) * (0.4 + 0.8 * factors.hair_wave)
    ragged += unit((rows + (14 - end)) * 0.08) * (3.0 if is_long else 1.0)
    inside += texture * ragged

    place, window_box = _window_box(factors, frame, box)
    height = box[0].stop - box[0].start
    window_height = window_box[0].stop - window_box[0].start
    window = _window(factors, frame, window_box, is_long)
    window += texture[place] * (2.8 if factors.has_bangs else 1.2)
    behind = inside[place].copy()
    inside[place] = np.minimum(behind, window)
    window *= 0.1
    window += 1.0
    shadow = unit(window)
    shadow *= -0.38 * unit((end + 8 - rows[place[0]]) * 0.07)
    back = coverage(stretch(behind, window_height))
    shadow *= coverage(behind)
    shadow += 1.0

    tone = _shine(light, frame, box, radius)
    texture *= 0.28
    tone += texture
    tone = stretch(tone, height)
    columns = place[1]
    return Hair(
        box=box,
        front=coverage(stretch(inside, height)),
        tone=tone,
        window_box=window_box,
        back=back,
        back_tone=tone[height - window_height :, columns] * 0.6,
        light=stretch(shadow, window_height),
    )


def _outline(
    factors: Factors,
    place: tuple[np.ndarray, np.ndarray, np.ndarray],
    ripple: np.ndarray,
    size: tuple[float, float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distance inside the outline of smooth hair, and the radius.

    Args:
        factors: Factors of the face.
        place: x and y of every pixel, and y of every row.
        ripple: Sideways shift of the curtains in every row.
        size: Half width, height above the eyes, and lower end of the hair.
    """
    u, v, rows = place
    half_width, top, end = size
    # The outline is an egg above, with curtains that widen and ripple below.
    widen = 1.0 + unit((rows + 10) * 0.012) * (0.16 + 0.12 * factors.hair_volume)
    x = np.abs(u)
    x += ripple
    x *= 1.0 / (half_width * widen)
    x *= x
    y = v.clip(-300.0, 0.0)
    y *= 1 / top
    y *= y
    squared = x + y
    y *= x
    y *= HEAD_SQUARENESS
    squared -= y
    radius = np.sqrt(squared, out=squared)
    # The tips are rounded towards the sides.
    x *= -10.0 if factors.hair_length > _LONG else -4.0
    x -= v
    x += end
    inside = radius * -half_width
    inside += half_width
    np.minimum(inside, x, out=inside)
    return inside, radius


def _across(
    factors: Factors, u: np.ndarray, rows: np.ndarray, ripple: np.ndarray, top: float
) -> np.ndarray:
    """Returns the position across the strands, which fall from the parting.

    A strand is a parabola that leaves the parting sideways and then falls straight.
    """
    across = u + (-20.0 * factors.hair_part)
    np.abs(across, out=across)
    across += ripple + 8.0
    fall = (rows + (top + 1.0)) * (0.7 / 62.0)
    fall += 0.3
    fall.clip(0.3, 1.0, out=fall)
    across *= 4.0 / np.sqrt(fall)
    # Each side of the parting has a texture of its own.
    across += u
    return positive(across)


def _window_box(factors: Factors, frame: Frame, hair_box: Box) -> tuple[Box, Box]:
    """Returns the box of the face's opening: in the hair's box, and in the image.

    The box in the hair's box counts every other row, and reaches to the last row.
    """
    center = _window_center(frame)
    full = frame.box(center, 60, frame.half_width + 3, 60 + _hairline(factors) + 6)
    top, bottom = hair_box[0].start, hair_box[0].stop
    left, right = hair_box[1].start, hair_box[1].stop
    start = max(full[0].start - top, 0) // 2
    columns = slice(max(full[1].start, left), min(full[1].stop, right))
    place = slice(start, None), slice(columns.start - left, columns.stop - left)
    return place, (slice(top + 2 * start, bottom), columns)


def _window_center(frame: Frame) -> float:
    # The opening is on the front of the head and turns with it.
    return 0.8 * HEAD_DEPTH * frame.sin_yaw


def _hairline(factors: Factors) -> float:
    return 24.0 if factors.has_bangs else 40.0 + 15.0 * factors.hairline


def _window(factors: Factors, frame: Frame, box: Box, is_long: bool) -> np.ndarray:
    """Returns the distance from the opening for the face, negative inside it.

    Args:
        factors: Factors of the face.
        frame: Frame of the face.
        box: Rows and columns of the image; the result has every other row.
        is_long: Whether the hair covers the ears.
    """
    hairline = _hairline(factors)
    half_width = frame.half_width * (0.87 if is_long else 0.95)
    u, v = frame.grid(box, step=2)
    u -= _window_center(frame)
    v -= 2.0
    up = v.clip(-300.0, 0.0)
    up *= 1 / (hairline + 2.0)
    if not factors.has_bangs:
        # Hair is swept aside from the parting, so the hairline is lower far from it.
        sweep = u * (0.02 if factors.hair_part < 0 else -0.02)
        sweep += 0.5 + 0.3 * abs(factors.hair_part)
        unit(sweep)
        sweep *= 0.2 * abs(factors.hair_part)
        sweep += 0.96
        up *= sweep
    u *= 1 / half_width
    u *= u
    up *= up
    squared = u + up
    # Fuller than an ellipse, for a squarish forehead.
    u *= up
    u.clip(0.0, 1.0, out=u)
    u *= 0.3
    squared -= u
    distance = np.sqrt(squared, out=squared)
    distance -= 1.0
    distance *= min(half_width, hairline)
    return distance


def _shine(light: Light, frame: Frame, box: Box, radius: np.ndarray) -> np.ndarray:
    """Returns the brightness of smooth hair, 1 for its own colour in full light.

    Args:
        light: Light on the face.
        frame: Frame of the face.
        box: Rows and columns of the image; the result has every other row.
        radius: Radius on the same rows, 1 at the outline of the hair.
    """
    columns, rows = frame.axes(box, step=2)
    # The crown has a band of sheen where it faces the light.
    sheen = radius * 5.0
    sheen += rows * 0.01 - 3.9
    np.abs(sheen, out=sheen)
    np.subtract(1.0, sheen, out=sheen)
    positive(sheen)
    sheen *= columns * (0.007 * light.x) + unit(0.4 - rows * 0.012) * (
        0.34 + 0.7 * light.gloss
    )
    positive(sheen)
    sheen += 1.0
    sheen *= columns * (0.0046 * light.x) + (0.74 - rows * 0.0016)
    return sheen


def paint_hair_behind(canvas: np.ndarray, hair: Hair, light: Light) -> None:
    """Paints the hair behind head and neck, darkened by their shade."""
    blend_tone(canvas, hair.window_box, hair.back, hair.back_tone, light.hair)


def paint_hair_before(canvas: np.ndarray, hair: Hair, light: Light) -> None:
    """Paints the hair in front of the head, and its shadow on face and neck."""
    remaining = 1.0 - hair.front
    top, left = hair.box[0].start, hair.box[1].start
    rows, columns = hair.window_box
    window = remaining[rows.start - top :, columns.start - left : columns.stop - left]
    window *= hair.light
    blend_tone(canvas, hair.box, hair.front, hair.tone, light.hair, remaining)
