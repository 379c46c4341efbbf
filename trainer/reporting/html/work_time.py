"""Measures how long a run was at work, from the times in its event files."""

import math
import os
import pathlib
import struct
from collections.abc import Iterator

# A record of an event file begins with its length and the checksum of the length. The
# event in it begins with the key of its first field, the time.
_RECORD_HEADER, _CHECKSUM_BYTES = struct.Struct("<QI"), 4
_EVENT_HEADER, _WALL_TIME_KEY = struct.Struct("<Bd"), 0x09


def busy_secs(directory: pathlib.Path) -> float | None:
    """Returns the seconds during which a run wrote events, without pauses."""
    spans = []
    for path in directory.glob("*/events.out.tfevents.*"):
        times = list(_wall_times(path))
        if times:
            spans.append((min(times), max(times)))
    if not spans:
        return None
    total, end = 0.0, -math.inf
    # The files of one start overlap in time.
    for first, last in sorted(spans):
        total += max(0.0, last - max(first, end))
        end = max(end, last)
    return total


def _wall_times(path: pathlib.Path) -> Iterator[float]:
    """Yields the time of each event, and skips the rest of the event."""
    with open(path, "rb") as file:
        num_bytes = os.fstat(file.fileno()).st_size
        header = file.read(_RECORD_HEADER.size)
        while len(header) == _RECORD_HEADER.size:
            length, _ = _RECORD_HEADER.unpack(header)
            start = file.tell()
            event = file.read(min(length, _EVENT_HEADER.size))
            end = start + length + _CHECKSUM_BYTES
            if len(event) < _EVENT_HEADER.size or end > num_bytes:
                return
            key, wall_time = _EVENT_HEADER.unpack(event)
            if key == _WALL_TIME_KEY and math.isfinite(wall_time):
                yield wall_time
            file.seek(end)
            header = file.read(_RECORD_HEADER.size)
