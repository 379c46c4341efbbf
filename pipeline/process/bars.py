"""Progress bars of whatever takes over two seconds, in a terminal only."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import tqdm

T = TypeVar("T")
DELAY_SECS = 2


def over(items: Iterable[T], name: str, unit: str) -> Iterator[T]:
    """Yields the items, with a bar on stderr while they last.

    Args:
        items: Things to go through.
        name: Name to the left of the bar.
        unit: Noun for one item.
    """
    yield from tqdm.tqdm(
        items,
        name,
        unit=unit,
        leave=False,
        # Shown only if stderr is a terminal.
        disable=None,
        delay=DELAY_SECS,
    )
