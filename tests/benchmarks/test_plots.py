import pathlib

import pytest
from PIL import Image

from benchmarks import plots, results

HISTORY = pathlib.Path(results.__file__).with_name("history.csv")


@pytest.fixture(scope="module")
def history() -> dict[str, list[results.Row]]:
    return results.read(HISTORY)


def test_each_benchmark_has_its_plot(history, tmp_path):
    plots.write(history, str(tmp_path))
    assert {path.stem for path in tmp_path.glob("*.png")} == set(history)
    for path in tmp_path.iterdir():
        assert path.stat().st_size < 60_000, path.name
        with Image.open(path) as image:
            assert image.size == (800, 320)


def test_the_pages_plots_are_those_of_the_rows(history):
    root = HISTORY.parents[1]
    images = {path.stem for path in (root / "docs/images/benchmarks").iterdir()}
    assert images == set(history)
    page = (root / "benchmarks/RESULTS.md").read_text(encoding="utf-8")
    for benchmark in history:
        assert f"## benchmarks/{benchmark}.py\n" in page
        assert f"](../docs/images/benchmarks/{benchmark}.png)" in page
        assert (root / f"benchmarks/{benchmark}.py").exists()


def test_points_are_the_values_of_the_rows(history):
    (panel,) = plots.PANELS["replicas"]
    first, *_, last = plots.points(history["replicas"], panel)
    assert first == plots.Point(
        0.25, 0.92, "celeba", "AMD EPYC, 2 cores, before 2026-11-28"
    )
    assert last == plots.Point(
        1.875, 1.031, "celeba", "AMD EPYC, 2 cores, since 2026-11-28"
    )
    (axes,) = plots.plot("replicas", history["replicas"]).axes
    drawn = {(float(x), float(y)) for line in axes.lines for x, y in line.get_xydata()}
    assert {(0.25, 0.92), (1.875, 1.031)} <= drawn


def test_rows_without_the_value_or_with_other_cells_are_left_out(history):
    panel, _ = plots.PANELS["builders"]
    rows = [row for row in history["builders"] if row["commit"] == "e4149be"]
    actual = [
        (point.value, point.series)
        for point in plots.points(rows, panel)
        if point.series.endswith("50000 images")
    ]
    # The peers' other four jobs have no number, because they ended at 16 GB.
    assert actual == [(8.1, "tfds, 50000 images"), (4.4, "plain, 50000 images")]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("+0.34", 0.34),
        ("13.1x", 13.1),
        ("0.61 of 190", 0.61),
        ("4214 (4826, 3601)", 4214),
        ("13.8/15.2/13.9", 13.9),
        ("over 16 GB", None),
        ("-", None),
    ],
)
def test_a_cell_has_one_number(cell, expected):
    assert plots.number(cell) == expected


def test_a_benchmark_without_a_plot_is_an_error():
    with pytest.raises(ValueError, match="no plot for the rows of new: add new to"):
        plots.plot("new", [])
