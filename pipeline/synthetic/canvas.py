"""The canvas: soft-edged coverage, blending, colours and fixed noise.

Pixels are float32 planes, `[3, height, width]`, from 0 to 255. The code uses only
operations whose results IEEE 754 fixes: addition, multiplication, division, square root
and comparison. So a face has the same bytes on every machine.
"""

import colorsys

import numpy as np

try:
    # For an eye's pixels, the ufunc inside `np.clip` takes half of the call's time.
    from numpy._core.umath import clip as _clip
except ImportError:
    _clip = np.clip

HEIGHT, WIDTH = 218, 178

Color = tuple[float, float, float]


# 0-d arrays, because NumPy takes a microsecond to convert a Python number. It changes
# the few pixels of a drawn eye in less time than that.
_ZERO = np.array(0, np.float32)
_ONE = np.array(1, np.float32)
_HALF = np.array(0.5, np.float32)
_WHITE = np.array(255, np.float32)
_INFINITY = np.array(np.inf, np.float32)


def unit(values: np.ndarray) -> np.ndarray:
    """Limits `values` to [0, 1] in place, and returns them."""
    return _clip(values, _ZERO, _ONE, values)


def positive(values: np.ndarray) -> np.ndarray:
    """Limits `values` to 0 or more in place, and returns them."""
    return _clip(values, _ZERO, _INFINITY, values)


def coverage(distance: np.ndarray) -> np.ndarray:
    """Turns signed distances into the share of a pixel that a shape covers, in place.

    Args:
        distance: Signed distance to the shape's edge in pixels, positive inside.

    Returns:
        The same array, in [0, 1]: a ramp of one pixel, centred on the edge.
    """
    distance += _HALF
    return _clip(distance, _ZERO, _ONE, distance)


def bump(values: np.ndarray) -> np.ndarray:
    """Computes (1 - x^2)^2 for x in (-1, 1) and 0 elsewhere, in place."""
    values *= values
    np.subtract(_ONE, values, out=values)
    positive(values)
    values *= values
    return values


def column(color: Color) -> np.ndarray:
    """Returns a colour as `[3, 1, 1]` float32."""
    return np.array(color, np.float32).reshape(3, 1, 1)


def stretch(field: np.ndarray, height: int) -> np.ndarray:
    """Returns a field with twice as many rows, linear between the given rows.

    Smooth parts of a face are drawn on every other row, for half of the work.

    Args:
        field: `[..., h, w]`, the values on every other row.
        height: Number of rows of the result, `2 * h - 1` or `2 * h`.

    Returns:
        `[..., height, w]`.
    """
    *planes, h, w = field.shape
    tall = np.empty((*planes, h, 2, w), np.float32)
    tall[..., 0, :] = field
    tall[..., -1, 1, :] = field[..., -1, :]
    between = field[..., :-1, :] + field[..., 1:, :]
    between *= _HALF
    tall[..., :-1, 1, :] = between
    return tall.reshape(*planes, 2 * h, w)[..., :height, :]


def blend(
    region: np.ndarray, alpha: np.ndarray, color: np.ndarray | Color | float
) -> None:
    """Paints `color` over a copy of a part of the canvas, in place.

    Args:
        region: `[3, ..., h, w]`, a copy of a part of the canvas. Its pixels are
            contiguous in memory; NumPy takes several times as long for a view.
        alpha: `[..., h, w]`, 1 where the paint is opaque.
        color: A colour, a gray, or an array that broadcasts to the region.
    """
    if isinstance(color, tuple):
        color = np.array(color, np.float32).reshape(3, *(1,) * alpha.ndim)
    change = color - region
    change *= alpha
    region += change


def blend_tone(
    canvas: np.ndarray,
    box: tuple[slice, slice],
    alpha: np.ndarray,
    tone: np.ndarray,
    color: Color,
    remaining: np.ndarray | None = None,
) -> None:
    """Paints a colour of varying brightness over a large box of the canvas.

    Does the same as `blend` with `column(color) * tone`, with fewer operations.

    Args:
        canvas: `[3, height, width]`.
        box: Rows and columns of the image, `h` by `w` pixels.
        alpha: `[h, w]`, 1 where the paint is opaque.
        tone: `[h, w]`, brightness.
        color: Colour at brightness 1.
        remaining: `[h, w]`, share of the canvas that shows through (default 1 - alpha).
    """
    light = alpha * tone
    if remaining is None:
        remaining = _ONE - alpha
    for plane, value in zip(canvas, color, strict=True):
        below = plane[box].copy()
        below *= remaining
        below += light * value
        plane[box] = below


def to_bytes(canvas: np.ndarray) -> np.ndarray:
    """Returns the canvas as `[height, width, 4]` uint8; the fourth byte is unused.

    Args:
        canvas: `[3, height, width]` float32; clipped to 0..255 in place.
    """
    _clip(canvas, _ZERO, _WHITE, canvas)
    planes = canvas.astype(np.int32)
    red, green, blue = planes
    green <<= 8
    blue <<= 16
    red |= green
    red |= blue
    return red.astype("<i4", copy=False).view(np.uint8).reshape(HEIGHT, WIDTH, 4)


def mix(first: Color, second: Color, share: float) -> Color:
    """Returns the colour at `share` of the way from `first` to `second`."""
    (r, g, b), (r2, g2, b2) = first, second
    return r + (r2 - r) * share, g + (g2 - g) * share, b + (b2 - b) * share


def scaled(color: Color, factor: float) -> Color:
    """Returns a colour with its brightness multiplied by `factor`."""
    return color[0] * factor, color[1] * factor, color[2] * factor


def hue_color(hue: float, saturation: float, value: float) -> Color:
    """Returns the colour of a hue in [0, 1), with channels from 0 to 255."""
    r, g, b = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return r * 255, g * 255, b * 255


def smooth_noise(
    height: int, width: int, cells: tuple[int, int], seed: int
) -> np.ndarray:
    """Returns periodic value noise in [-1, 1], `[height, width]` float32.

    Args:
        height: Number of rows.
        width: Number of columns.
        cells: Number of random values down and across. The noise passes through them
            and is smooth between them.
        seed: Seed of the random values.
    """
    key = np.array([seed, 0], np.uint64)
    grid = np.random.Generator(np.random.Philox(key=key)).random(cells) * 2 - 1
    for axis, size in enumerate((height, width)):
        position = np.arange(size) * (cells[axis] / size)
        index = position.astype(int)
        share = position - index
        share = share * share * (3 - 2 * share)
        shape = [-1, 1] if axis == 0 else [1, -1]
        first = np.take(grid, index, axis)
        second = np.take(grid, (index + 1) % cells[axis], axis)
        grid = first + (second - first) * share.reshape(shape)
    return grid.astype(np.float32)
