import json
import pathlib

import matplotlib
import numpy as np
import pytest

from trainer.reporting import image_grid, plots

RNG = np.random.default_rng(0)


def test_two_latents_are_shown_as_they_are_and_one_against_zero() -> None:
    latents = RNG.normal(size=(20, 2))
    np.testing.assert_array_equal(plots.project(latents), latents)
    line = plots.project(latents[:, :1])
    np.testing.assert_array_equal(line[:, 0], latents[:, 0])
    np.testing.assert_array_equal(line[:, 1], np.zeros(20))


def test_more_latents_are_shown_in_the_plane_where_they_vary() -> None:
    plane = RNG.normal(size=(200, 2)) * [5, 2]
    axes, _ = np.linalg.qr(RNG.normal(size=(6, 2)))
    latents = plane @ axes.T + 0.01 * RNG.normal(size=(200, 6)) + 3
    projected = plots.project(latents)
    centred = plane - plane.mean(axis=0)
    for column, expected in zip(projected.T, centred.T, strict=True):
        assert abs(np.corrcoef(column, expected)[0, 1]) > 0.98
    np.testing.assert_allclose(plots.project(latents), projected)


@pytest.mark.parametrize("num_classes", [0, 2, 10, 30])
def test_a_scatter_shows_every_class(num_classes: int) -> None:
    latents = RNG.normal(size=(300, 2))
    labels = np.arange(300) % num_classes if num_classes else None
    picture = plots.latent_scatter(latents, labels)
    assert picture.dtype == np.uint8
    assert picture.shape == (400, 400, 3)
    colours = {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}
    assert len(colours) > max(num_classes, 2)


def test_curves_have_a_line_for_each_split_that_has_the_metric() -> None:
    lines = [
        {"step": 0, "split": "test", "loss": 3.0},
        {"step": 1, "split": "train", "loss": 2.0, "kl": 0.5},
        {"step": 2, "split": "train", "loss": 1.0, "kl": 0.7},
    ]
    figure = plots.plot_metrics(lines, ("loss", "kl", "fid"))
    loss, kl = figure.axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in loss.lines}
    assert drawn == {"test": [[0, 3]], "train": [[1, 2], [2, 1]]}
    assert [line.get_label() for line in kl.lines] == ["train"]


def test_curves_are_a_png_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 0, "split": "test", "loss": 3.0}) + "\n")
    plots.save_curves(path, tmp_path / "curves.png")
    assert image_grid.load_png(tmp_path / "curves.png").shape[2] in (3, 4)
    assert [path.name for path in tmp_path.iterdir() if "tmp" in path.name] == []


def test_the_callers_style_is_neither_used_nor_changed() -> None:
    latents = np.arange(8.0).reshape(4, 2)
    strips = np.zeros([1, 2, 8, 8, 1])
    plain = plots.latent_scatter(latents), plots.label_strips(strips, "a", "bc")
    styles = {"figure.facecolor": "red", "axes.facecolor": "red", "font.weight": "bold"}
    with matplotlib.rc_context(styles):
        before = dict(matplotlib.rcParams)
        np.testing.assert_array_equal(plots.latent_scatter(latents), plain[0])
        labelled = plots.label_strips(strips, "a", "bc")
        np.testing.assert_array_equal(labelled, plain[1])
        assert dict(matplotlib.rcParams) == before
