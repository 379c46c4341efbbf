"""Curves as inline SVG, in the colours of the page that they are in."""

import html
import math
from collections.abc import Mapping, Sequence

Points = Sequence[tuple[int, float]]

_WIDTH, _HEIGHT = 360, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 10, 24
_INNER_WIDTH = _WIDTH - _LEFT - _RIGHT
_INNER_HEIGHT = _HEIGHT - _TOP - _BOTTOM
_MAX_POINTS = 600
# Values beyond most others, such as a first loss, do not make the rest a flat line.
_OUTLIER_SHARE, _MAX_STRETCH = 0.03, 3.0
# Less than that is rounding, or beyond what can be divided.
_LEAST_RANGE = 1e-200


def curves(
    label: str, series: Mapping[str, Points], splits: Sequence[str], last_step: int
) -> str:
    """Returns an SVG element with a curve for each split.

    Args:
        label: What it shows, for who cannot see it.
        series: Steps, in order, and finite values by split; none is empty. Of more than
            600 points those that `thin` keeps are drawn.
        splits: All of the page, whose places are their colours.
        last_step: Of the run, from 0 to which the chart goes.
    """
    values = [value for each in series.values() for _, value in each]
    last_step = max(last_step, 1)
    x_ticks = [tick for tick in ticks(0, last_step, 4) if tick <= last_step]
    y_ticks = ticks(*value_range(values), 4)
    low, high = y_ticks[0], y_ticks[-1]

    def at(step: float, value: float) -> tuple[float, float]:
        x = _LEFT + step / last_step * _INNER_WIDTH
        y = _TOP + (high - value) / (high - low) * _INNER_HEIGHT
        # Far beyond the frame is as good as beyond it.
        return x, min(max(y, -_HEIGHT), 2.0 * _HEIGHT)

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{html.escape(label)}">'
    ]
    for value in y_ticks:
        _, y = at(0, value)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" '
            f'y2="{y:.1f}"/><text x="{_LEFT - 6}" y="{y + 3.5:.1f}" '
            f'text-anchor="end">{axis_text(value, y_ticks)}</text>'
        )
    for step in x_ticks:
        x, _ = at(step, low)
        parts.append(
            f'<text x="{x:.1f}" y="{_HEIGHT - 7}" text-anchor="middle">'
            f"{axis_text(step, x_ticks)}</text>"
        )
    beyond = [value for value in (min(values), max(values)) if not low <= value <= high]
    if beyond:
        text = " and ".join(axis_text(value, y_ticks) for value in beyond)
        parts.append(
            f'<text x="{_WIDTH - _RIGHT}" y="{_TOP + 9}" text-anchor="end">'
            f"beyond: {text}</text>"
        )
    # A view of its own cuts off what is beyond the frame.
    parts.append(
        f'<svg x="{_LEFT - 4}" y="{_TOP - 4}" width="{_INNER_WIDTH + 8}" '
        f'height="{_INNER_HEIGHT + 8}" viewBox="{_LEFT - 4} {_TOP - 4} '
        f'{_INNER_WIDTH + 8} {_INNER_HEIGHT + 8}">'
    )
    for split, each in series.items():
        drawn = [at(*point) for point in thin(each, _MAX_POINTS)]
        colour = f"split-{splits.index(split) % 4}"
        if len(drawn) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in drawn)
            parts.append(
                f'<polyline class="{colour}" data-split="{html.escape(split)}" '
                f'points="{path}"/>'
            )
        # Few points are seen as such, and the last of many says where the run is.
        for x, y in drawn if len(drawn) <= 12 else drawn[-1:]:
            parts.append(
                f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="2.4"/>'
            )
    return "".join([*parts, "</svg></svg>"])


def thin(points: Points, max_points: int) -> Points:
    """Returns the ends of a curve, and the extremes of its equal parts, in order.

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
    # The ends take the place of an extreme, if they are none.
    indices = [0, *sorted(chosen)[1:-1], len(points) - 1]
    return [points[index] for index in indices]


def value_range(values: Sequence[float]) -> tuple[float, float]:
    """Returns the least and the largest value that a chart shows, which differ.

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
    """Returns about `num` round numbers, from one below a range to one above it.

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
    """Returns the text of a tick, as exact as tells it from the next one.

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
