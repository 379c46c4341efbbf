"""Formats values for the page."""

import datetime
from typing import Any


def number(value: float) -> str:
    """Returns a number with three digits, or with all digits of its integer part.

    Example:
        >>> [number(value) for value in (289169, -5994.740534, 0.001000000047, 7.5)]
        ['289,169', '−5,995', '0.001', '7.5']
    """
    if float(value).is_integer() and abs(value) < 1e15:
        text = f"{int(value):,}"
    elif 999.5 <= abs(value) < 1e15:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.3g}"
    return text.replace("-", "−")


def exact(value: Any) -> str:
    """Returns a number with all its digits, and an empty text for anything else.

    Example:
        >>> exact(-5994.740534), exact("elbo")
        ('-5994.740534', '')
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return repr(value) if is_number else ""


def setting(value: Any) -> str:
    """Returns a config value as text, and a list without its brackets.

    Example:
        >>> [setting(value) for value in ([8, 16], [], True, 0.005, "elbo", None)]
        ['8, 16', 'none', 'yes', '0.005', 'elbo', '—']
    """
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(setting(each) for each in value) or "none"
    return str(value)


def duration(seconds: float) -> str:
    """Returns a duration in its two largest units.

    Example:
        >>> [duration(value) for value in (42.3, 3725, 200_000)]
        ['42 s', '1 h 2 min', '2 d 7 h']
    """
    left = round(seconds)
    found = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or found:
            found.append(f"{count} {unit}")
    return " ".join(found[:2]) or "0 s"


def moment(seconds: float) -> str:
    """Returns the UTC date and time of `seconds` since the epoch."""
    when = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{when:%Y-%m-%d %H:%M} UTC"
