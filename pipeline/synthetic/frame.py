"""The frame: the position of the head in the image, and of its parts on the head."""

import dataclasses
import functools
import math

import numpy as np

from pipeline.synthetic.canvas import HEIGHT, WIDTH
from pipeline.synthetic.factors import Factors

# Positions are in head units, which are pixels at scale 1. The origin lies between the
# eyes, with x to the right and y down. CelebA's aligned faces have their eyes at
# (69, 111) and (108, 111), and their mouth at y = 152.
CENTER_X, CENTER_Y = 88.5, 111.0
EYE_X = 19.5
EYE_Y = 0.0
NOSE_Y = 23.0
MOUTH_Y = 42.0
# Heights of the tip of the nose and of the lips above the surface of the head.
NOSE_LIFT = 8.0
MOUTH_LIFT = 3.0
HEAD_HEIGHT = 70.0
HEAD_DEPTH = 40.0
# Shape of the head: 0 would make an ellipse, 1 a rectangle.
HEAD_SQUARENESS = 0.4

_X = np.arange(WIDTH, dtype=np.float32)
_Y = np.arange(HEIGHT, dtype=np.float32)

Box = tuple[slice, slice]


@dataclasses.dataclass(frozen=True)
class Frame:
    """The coordinate system of one head.

    Attributes:
        scale: Pixels per head unit.
        center_x: Pixel column of the origin.
        center_y: Pixel row of the origin.
        cos_roll: Cosine of the roll.
        sin_roll: Sine of the roll.
        cos_yaw: Cosine of the yaw.
        sin_yaw: Sine of the yaw.
        half_width: Half width of the head, in head units.
        jaw_taper: Share of the width that the head loses down to the chin.
    """

    scale: float
    center_x: float
    center_y: float
    cos_roll: float
    sin_roll: float
    cos_yaw: float
    sin_yaw: float
    half_width: float
    jaw_taper: float

    def to_pixel(self, x: float, y: float) -> tuple[float, float]:
        """Returns the pixel (column, row) of a point in head units."""
        return (
            self.center_x + self.scale * (self.cos_roll * x - self.sin_roll * y),
            self.center_y + self.scale * (self.sin_roll * x + self.cos_roll * y),
        )

    def box(self, x: float, y: float, half_x: float, half_y: float) -> Box:
        """Returns the rows and columns that hold a rectangle in head units.

        The box is empty if the rectangle is outside the image.
        """
        column, row = self.to_pixel(x, y)
        sin_roll = abs(self.sin_roll)
        dx = self.scale * (half_x + sin_roll * half_y) + 1
        dy = self.scale * (half_y + sin_roll * half_x) + 1
        top, left = max(0, int(row - dy)), max(0, int(column - dx))
        bottom = max(top, min(HEIGHT, int(row + dy) + 2))
        right = max(left, min(WIDTH, int(column + dx) + 2))
        return slice(top, bottom), slice(left, right)

    @functools.cached_property
    def _upright(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns x of every column and y of every row, ignoring the roll."""
        inverse = 1 / self.scale
        return (_X - self.center_x) * inverse, (_Y - self.center_y) * inverse

    @functools.cached_property
    def _turned(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Returns the terms that columns and rows add to x, then to y."""
        x, y = self._upright
        cos_roll, sin_roll = self.cos_roll, self.sin_roll
        return x * cos_roll, y * sin_roll, x * -sin_roll, y * cos_roll

    def grid(self, box: Box, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Returns x and y of the pixels of a box, in head units.

        Args:
            box: Rows and columns of the image.
            step: Step between rows; 2 for every other row.
        """
        rows, columns = slice(box[0].start, box[0].stop, step), box[1]
        x_column, x_row, y_column, y_row = self._turned
        return (
            x_row[rows, None] + x_column[columns],
            y_row[rows, None] + y_column[columns],
        )

    def fill_grid(
        self,
        box: Box,
        center: tuple[float, float],
        grid: tuple[np.ndarray, np.ndarray],
    ) -> None:
        """Fills `grid` with x and y of the pixels of a box, relative to a point."""
        rows, columns = box
        x_column, x_row, y_column, y_row = self._turned
        np.add(x_row[rows, None], x_column[columns] - center[0], out=grid[0])
        np.add(y_row[rows, None], y_column[columns] - center[1], out=grid[1])

    def axes(self, box: Box, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Returns `[1, w]` x and `[h, 1]` y of a box, ignoring the roll.

        Args:
            box: Rows and columns of the image.
            step: Step between rows; 2 for every other row.
        """
        x, y = self._upright
        return x[None, box[1]], y[box[0].start : box[0].stop : step, None]

    def project(self, x: float, y: float, lift: float = 0.0) -> tuple[float, float]:
        """Returns the visible position of a point on the front of the head.

        Args:
            x: Horizontal position on a head that faces the viewer, in head units.
            y: Vertical position, downwards.
            lift: Height above the surface of the head, as for the tip of the nose.
        """
        depth = HEAD_DEPTH * self._front(x, y) + lift
        return x * self.cos_yaw + depth * self.sin_yaw, y

    def foreshortening(self, x: float, y: float) -> float:
        """Returns the visible width of a unit of width at a point."""
        slope = HEAD_DEPTH * x / (self.half_width**2 * self._front(x, y))
        return max(self.cos_yaw - slope * self.sin_yaw, 0.45)

    def _front(self, x: float, y: float) -> float:
        squared = (x / self.half_width) ** 2 + (y / HEAD_HEIGHT) ** 2
        return math.sqrt(max(1.0 - squared, 0.05))


def place_head(factors: Factors) -> Frame:
    """Returns the frame of a face."""
    yaw, roll = math.radians(factors.yaw), math.radians(factors.roll)
    # A turned head shifts back sideways, to keep the eyes near their aligned positions.
    setback = 0.62 * HEAD_DEPTH * math.sin(yaw) * factors.scale
    return Frame(
        scale=factors.scale,
        center_x=CENTER_X + factors.shift_x - setback,
        center_y=CENTER_Y + factors.shift_y,
        cos_roll=math.cos(roll),
        sin_roll=math.sin(roll),
        cos_yaw=math.cos(yaw),
        sin_yaw=math.sin(yaw),
        half_width=42.5 + 6.0 * factors.face_width,
        jaw_taper=0.42 - 0.2 * factors.jaw_width,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """Two boxes of the same size, left and right, painted in one go.

    Attributes:
        boxes: Rows and columns of the left and the right box.
        x: `[2, h, w]`, x of every pixel relative to its box's centre, in head units.
        y: `[2, h, w]`, y of every pixel likewise, downwards.
        region: `[3, 2, h, w]`, a copy of the canvas in both boxes.
    """

    boxes: tuple[Box, Box]
    x: np.ndarray
    y: np.ndarray
    region: np.ndarray

    def restore(self, canvas: np.ndarray) -> None:
        """Puts the painted region back on the canvas."""
        for side, box in enumerate(self.boxes):
            canvas[:, *box] = self.region[:, side]


def take_pair(
    canvas: np.ndarray,
    frame: Frame,
    centers: tuple[tuple[float, float], tuple[float, float]],
    half_x: float,
    half_y: float,
) -> Pair:
    """Returns the boxes around two points of the head, moved into the image."""
    height, width = int(half_y * frame.scale * 2) + 3, int(half_x * frame.scale * 2) + 3
    region = np.empty((3, 2, height, width), np.float32)
    pixel_x, pixel_y = np.empty((2, 2, height, width), np.float32)
    boxes = []
    for side, (x, y) in enumerate(centers):
        column, row = frame.to_pixel(x, y)
        top = min(max(int(row - height / 2 + 1), 0), HEIGHT - height)
        left = min(max(int(column - width / 2 + 1), 0), WIDTH - width)
        box = slice(top, top + height), slice(left, left + width)
        frame.fill_grid(box, (x, y), (pixel_x[side], pixel_y[side]))
        region[:, side] = canvas[:, *box]
        boxes.append(box)
    return Pair((boxes[0], boxes[1]), pixel_x, pixel_y, region)


def per_side(left: float, right: float) -> np.ndarray:
    """Returns `[2, 1, 1]` float32, which broadcasts to the arrays of a `Pair`."""
    return np.array([[[left]], [[right]]], np.float32)
