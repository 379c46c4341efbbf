"""Values that a chart shows under the pointer."""

import re

from trainer.reporting.html import charts

STRIP = r'<rect x="([\d.]+)" y="6" width="([\d.]+)" height="164"><title>([^<]+)</title>'


def strips(series: dict, last_step: int) -> list[tuple[float, float, str]]:
    styles = {label: charts.Style(i) for i, label in enumerate(series)}
    drawn = charts.curves("loss by step", series, styles, last_step)
    return [(float(x), float(w), text) for x, w, text in re.findall(STRIP, drawn)]


def test_values_are_shown_under_the_pointer() -> None:
    series = {
        "train": [(0, 8.0), (50, 2.5), (100, -1000.25)],
        "a<b": [(50, 3.0)],
    }
    # Step 0 is at x = 52 and step 100 at x = 350; the frame has 4 more on each side.
    assert strips(series, 100) == [
        (48, 78.5, "step 0\ntrain 8"),
        (126.5, 149, "step 50\ntrain 2.5\na&lt;b 3"),
        (275.5, 78.5, "step 100\ntrain −1,000\na&lt;b 3 at step 50"),
    ]


def test_one_step_has_the_whole_chart() -> None:
    assert strips({"train": [(7, 1.0)]}, 7) == [(48, 306, "step 7\ntrain 1")]
    below_zero = strips({"train": [(-9, 1.0), (0, 2.0)]}, 7)
    assert [width >= 0 for _, width, _ in below_zero] == [True, True]


def test_strips_of_a_long_run_are_wide_enough() -> None:
    found = strips({"train": [(step, 1.0 * step) for step in range(10_000)]}, 9_999)
    assert len(found) == 100
    assert found[0][2] == "step 0\ntrain 0"
    assert found[-1][2] == "step 9,999\ntrain 9,999"
    for (x, width, _), (next_x, _, _) in zip(found, found[1:], strict=False):
        assert abs(x + width - next_x) < 0.11
        assert width > 2.9
