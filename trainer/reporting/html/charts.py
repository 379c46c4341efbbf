"""Curves as inline SVG, in the colours of the page around them."""

import bisect
import dataclasses
import itertools
import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence

from trainer.reporting.html import rendering, run_files, texts

Points = Sequence[tuple[int, float]]

_WIDTH, _HEIGHT = 360, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 10, 24
_INNER_WIDTH = _WIDTH - _LEFT - _RIGHT
_INNER_HEIGHT = _HEIGHT - _TOP - _BOTTOM
# Visible area of the curves, with room for dots on its edge: x, y, width, height.
_FRAME = (_LEFT - 4, _TOP - 4, _INNER_WIDTH + 8, _INNER_HEIGHT + 8)
_MAX_POINTS = 600
# More strips would be too narrow to point at.
_MAX_STRIPS = 100
# Number of curve colours in style.css.
NUM_COLOURS = 6
# Clip outliers such as a first loss, because they would flatten the rest of the curve.
_OUTLIER_SHARE, _MAX_STRETCH = 0.03, 3.0
# A smaller range is rounding, or too small to divide by.
_LEAST_RANGE = 1e-200


@dataclasses.dataclass(frozen=True)
class Style:
    """Look of a curve.

    Attributes:
        colour: Number of its colour.
        is_dashed: Whether its line is dashed.
    """

    colour: int
    is_dashed: bool = False


@dataclasses.dataclass(frozen=True)
class _Curve:
    """A curve in the coordinates of the chart.

    Attributes:
        label: Name of the curve.
        style: Its look.
        line: Points of the line in SVG syntax; empty for a single point.
        dots: Points that get a marker.
    """

    label: str
    style: Style
    line: str
    dots: Sequence[tuple[float, float]]


def curves(
    label: str,
    series: Mapping[str, Points],
    styles: Mapping[str, Style],
    last_step: int,
) -> str:
    """Returns an SVG element with one curve per series and values under the pointer.

    The element also holds the points, from which charts.js draws a part of the curves.

    Args:
        label: Description of the chart for readers who cannot see it.
        series: Steps in order and their finite values, by label; no series is empty.
            `thin` reduces a series of more than 600 points.
        styles: Look of each label, the same on the whole page.
        last_step: Last step of the run, where the step axis ends.
    """
    values = [value for each in series.values() for _, value in each]
    last_step = max(last_step, 1)
    x_ticks = [tick for tick in ticks(0, last_step, 4) if tick <= last_step]
    y_ticks = ticks(*value_range(values), 4)
    low, high = y_ticks[0], y_ticks[-1]

    def at(step: float, value: float) -> tuple[float, float]:
        x = _LEFT + step / last_step * _INNER_WIDTH
        y = _TOP + (high - value) / (high - low) * _INNER_HEIGHT
        # Limit values far outside the frame; they stay outside it.
        return x, min(max(y, -_HEIGHT), 2.0 * _HEIGHT)

    thinned = {name: thin(points, _MAX_POINTS) for name, points in series.items()}

    def curve(name: str) -> _Curve:
        drawn = [at(*point) for point in thinned[name]]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in drawn) if drawn[1:] else ""
        # Mark every point of a short curve, and only the newest of a long one.
        dots = drawn if len(drawn) <= 12 else drawn[-1:]
        return _Curve(name, styles[name], line, dots)

    beyond = [value for value in (min(values), max(values)) if not low <= value <= high]
    return rendering.render(
        "chart.svg",
        label=label,
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        right=_WIDTH - _RIGHT,
        frame=_FRAME,
        y_ticks=[(at(0, tick)[1], axis_text(tick, y_ticks)) for tick in y_ticks],
        x_ticks=[(at(tick, low)[0], axis_text(tick, x_ticks)) for tick in x_ticks],
        beyond=[axis_text(value, y_ticks) for value in beyond],
        curves=[curve(name) for name in series],
        data=_data(thinned, styles, last_step),
        strips=_strips(series, lambda step: at(step, low)[0]),
    )


def thin(points: Points, max_points: int) -> Points:
    """Returns the ends of a curve and the extremes of its equal parts, in order.

    Example:
        >>> thin([(0, 1.0), (1, 9.0), (2, 2.0), (3, 0.0), (4, 1.0), (5, 1.0)], 4)
        [(0, 1.0), (1, 9.0), (3, 0.0), (5, 1.0)]
    """
    if len(points) <= max_points:
        return points
    num_parts = max_points // 2
    chosen = set()
    for part in range(num_parts):
        start = part * len(points) // num_parts
        end = (part + 1) * len(points) // num_parts
        by_value = sorted(range(start, end), key=lambda i: points[i][1])
        chosen |= {by_value[0], by_value[-1]}
    # Replace the first and last extreme by the ends of the curve.
    indices = [0, *sorted(chosen)[1:-1], len(points) - 1]
    return [points[index] for index in indices]


def value_range(values: Sequence[float]) -> tuple[float, float]:
    """Returns the lowest and highest value of the chart; the two always differ.

    Example:
        >>> value_range([1.0, 2.0])
        (1.0, 2.0)
        >>> value_range([1e6] + [1.0, 2.0] * 50)
        (1.0, 2.0)
    """
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    num_outliers = int(len(ordered) * _OUTLIER_SHARE)
    if num_outliers:
        inner_low, inner_high = ordered[num_outliers], ordered[-num_outliers - 1]
        if high - low > _MAX_STRETCH * (inner_high - inner_low) > 0:
            low, high = inner_low, inner_high
    if high - low > max(_LEAST_RANGE, 1e-9 * max(abs(low), abs(high))):
        return low, high
    margin = 0.1 * abs(low) or 1.0
    return low - margin, high + margin


def ticks(low: float, high: float, num: int) -> list[float]:
    """Returns about `num` round numbers that enclose a range.

    Example:
        >>> ticks(0, 290, 4)
        [0.0, 100.0, 200.0, 300.0]
    """
    rough = (high - low) / num
    power = 10.0 ** math.floor(math.log10(rough))
    size = next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= rough * 0.999)
    first, last = math.floor(low / size + 1e-6), math.ceil(high / size - 1e-6)
    return [size * i for i in range(first, last + 1)]


def axis_text(value: float, all_ticks: Sequence[float]) -> str:
    """Returns the text of a tick, exact enough to tell it from the next tick.

    Example:
        >>> [axis_text(t, [0, 2500, 5000]) for t in (0, 2500)]
        ['0', '2.5k']
    """
    largest = max(abs(tick) for tick in all_ticks)
    gap = abs(all_ticks[1] - all_ticks[0])
    if 0 < largest < 1e-3:
        return f"{value:.2g}".replace("-", "−")
    unit, sign = next(
        (u, s) for u, s in ((1e6, "M"), (1e3, "k"), (1.0, "")) if largest >= u or u == 1
    )
    if sign and gap / unit < 1e-3:
        unit, sign = 1.0, ""
    text = f"{value / unit:.{max(0, -math.floor(math.log10(gap / unit * 1.0001)))}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    # The exact gap may need one more digit, as 2.5 does.
    if abs(float(text) * unit - value) > 0.01 * gap:
        text = f"{value / unit:.4g}"
    return (text + sign if float(text) else "0").replace("-", "−")


def _data(
    series: Mapping[str, Points], styles: Mapping[str, Style], last_step: int
) -> str:
    """Returns the curves as JSON for charts.js, with values of six digits."""
    drawn = [
        {
            "label": label,
            "colour": styles[label].colour,
            "dashed": styles[label].is_dashed,
            "points": [[step, float(f"{value:.6g}")] for step, value in points],
        }
        for label, points in series.items()
    ]
    box = [_LEFT, _TOP, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM]
    return json.dumps({"last": last_step, "box": box, "curves": drawn})


def _strips(
    series: Mapping[str, Points], x_of: Callable[[int], float]
) -> list[tuple[float, float, str]]:
    """Returns x, width and text of strips that cover the chart, one per step."""
    steps = sorted({step for points in series.values() for step, _ in points})
    steps = run_files.spread(steps, _MAX_STRIPS)
    left, _, width, _ = _FRAME
    # A damaged file may have steps below 0.
    middles = [max(left, x_of(step)) for step in steps]
    ends = [left, *map(statistics.fmean, itertools.pairwise(middles)), left + width]
    return [
        (start, end - start, _text_at(series, step))
        for (start, end), step in zip(itertools.pairwise(ends), steps, strict=True)
    ]


def _text_at(series: Mapping[str, Points], step: int) -> str:
    """Returns the last value of each series up to a step, one line per series."""
    lines = [f"step {texts.number(step)}"]
    for label, points in series.items():
        num = bisect.bisect_right(points, step, key=lambda point: point[0])
        if num:
            found, value = points[num - 1]
            when = "" if found == step else f" at step {texts.number(found)}"
            lines.append(f"{label} {texts.number(value)}{when}")
    return "\n".join(lines)
