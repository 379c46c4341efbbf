"""A bar is shown in a terminal, for what lasts."""

import io
import sys
import time

import pytest

from pipeline.process import bars


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "delay", "is_shown"),
    [(_Terminal, 0.0, True), (_Terminal, 60.0, False), (io.StringIO, 0.0, False)],
)
def test_a_bar_is_shown_in_a_terminal_for_what_lasts(
    stream: type[io.StringIO],
    delay: float,
    is_shown: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bars, "DELAY_SECS", delay)
    monkeypatch.setattr(sys, "stderr", stream())
    found = []
    for number in bars.over(range(7), "split train", "batch"):
        found.append(number)
        time.sleep(0.2 if number < 2 else 0)
    assert found == list(range(7))
    shown = sys.stderr.getvalue()
    assert ("split train" in shown and "/7" in shown) == is_shown
    # Nothing of the bar stays on the screen.
    assert not shown.rpartition("\r")[2].strip()


def test_an_unfinished_bar_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "DELAY_SECS", 0.0)
    monkeypatch.setattr(sys, "stderr", _Terminal())
    steps = bars.over(range(7), "split train", "batch")
    assert next(steps) == 0
    steps.close()
    assert not sys.stderr.getvalue().rpartition("\r")[2].strip()
