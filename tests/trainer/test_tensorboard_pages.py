"""Opens TensorBoard's pages of a run in Chromium."""

import io
import json
import pathlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from tests.trainer.boards import Board, serving
from tests.trainer.trained_runs import Run, run_module, train

pytest.importorskip("selenium", reason="needs selenium, of the extra dev")
from tests.trainer.browsing import MARKS, Browser, browsing  # noqa: E402

pytestmark = MARKS


NAMES = ("narrow", "reference")


@pytest.fixture(scope="module")
def narrow_run(
    dataset_dir: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Returns a projected run with other settings and pictures every 5 steps."""
    workdir = tmp_path_factory.mktemp("runs") / "narrow"
    run = train(
        dataset_dir,
        workdir,
        "--virtual_devices=1",
        "--config.latent_dim=3",
        "--config.image_every_steps=5",
    )
    assert run.returncode == 0, run.output
    flags = (f"--workdir={workdir}", "--mode=project", "--split=test")
    done = run_module("trainer.generate", *flags)
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(scope="module")
def board(narrow_run: Run, reference_run: Run) -> Iterator[Board]:
    with serving(narrow_run.workdir, reference_run.workdir) as board:
        yield board


@pytest.fixture(scope="module")
def browser(
    board: Board, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    with browsing(board.url, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def test_the_first_page_opens_on_the_objective_and_the_pictures(
    board: Board, browser: Browser
) -> None:
    browser.open("timeseries")

    def cards() -> dict[str, int]:
        groups = browser.find(".card-group")
        return {
            browser.texts(".group-title", group)[0]: len(
                browser.find("card-view", group)
            )
            for group in groups
        }

    actual = browser.wait("cards", cards)
    # Two runs have a card of a picture each. Cards of the other groups are folded.
    assert list(actual)[:3] == ["objective", "pictures", "posterior"]
    assert actual["objective"] == 6
    assert actual["pictures"] == 2 * 5
    assert sum(actual.values()) == 16
    # The points that `generate` wrote for the projector are no run.
    runs = {f"{name}/{part}" for name in NAMES for part in ("train", "eval")}
    assert set(json.loads(board.fetch("runs"))) == runs


def test_scalars_are_drawn(browser: Browser) -> None:
    tags = {f"objective/{name}" for name in ("loss", "elbo", "kl")}
    cards = browser.show_cards(
        "scalars", "tf-scalar-card", "^objective/(loss|elbo|kl)$"
    )
    assert cards.keys() == tags
    for tag, (card, *_) in cards.items():
        # Two runs, each with training and evaluation, give four end points.
        browser.wait(
            f"four curves of {tag}",
            lambda card=card: len(browser.find("path.symbol", card)) >= 4,
        )


def test_every_picture_is_on_the_slider(browser: Browser) -> None:
    tags = {f"pictures/{name}" for name in ("reconstruction", "samples", "traversals")}
    cards = browser.show_cards(
        "images", "tf-image-loader", f"^({'|'.join(sorted(tags))})$"
    )
    assert cards.keys() == tags
    for tag in tags:
        by_run = {
            browser.texts("#heading-run", card)[0]: card
            for card in dict.fromkeys(cards[tag])
        }
        assert by_run.keys() == {"narrow/eval", "reference/eval"}
        # The slider counts from 0: steps 0, 5, …, 50, and steps 0, 25, 50.
        for run, last in (("narrow/eval", 10), ("reference/eval", 2)):
            (slider,) = browser.find("#steps", by_run[run])
            assert int(slider.get_attribute("aria-valuemax")) == last
            assert "step 50" in " ".join(browser.texts(".heading-label", by_run[run]))


def test_settings_are_compared(browser: Browser) -> None:
    browser.open("hparams")

    def cells() -> list[str]:
        actual = browser.texts("vaadin-grid-cell-content")
        return actual if {"narrow/eval", "reference/eval"} <= set(actual) else []

    actual = browser.wait("both runs", cells)
    header = [text for text in actual if text][:20]
    assert header[:3] == ["Trial ID", "Show Metrics", "latent_dim"]
    assert {"objective/elbo", "objective/loss"} <= set(header)
    for name, latent_dim in (("narrow/eval", "3.0000"), ("reference/eval", "8.0000")):
        assert latent_dim in actual[actual.index(name) :][:4]


def test_the_projector_shows_points_with_features(browser: Browser) -> None:
    num_points, num_dimensions, items = browser.show_projector()
    assert num_points == 11
    assert num_dimensions in (3, 8)
    assert {"narrow/eval", "reference/eval"} <= set(items)
    assert {"key", "Smiling", "lefteye_x"} <= set(items)

    def colours() -> bool:
        (canvas, *_) = browser.find("canvas")
        pixels = Image.open(io.BytesIO(canvas.screenshot_as_png)).convert("RGB")
        return len(np.unique(np.asarray(pixels).reshape(-1, 3), axis=0)) > 1_000

    # Eleven thumbnails have many colours; the axes alone have only a few.
    assert browser.wait("thumbnails", colours)


def test_the_projector_shows_what_generate_wrote(
    browser: Browser, narrow_run: Run
) -> None:
    folder = narrow_run.workdir / "generated/projector-test/projector"
    lines = (folder / "metadata.tsv").read_text().splitlines()
    header, *rows = [line.split("\t") for line in lines]
    assert len(rows) == 13
    browser.show_projector()
    # Points beside the runs, in the root of TensorBoard.
    browser.choose(".")
    browser.wait(
        "points of this split",
        lambda: (
            [features["key"] for features, _ in browser.points()]
            == [row[0] for row in rows]
        ),
    )
    features, latents = zip(*browser.points(), strict=True)
    for name in ("Smiling", "Male", "lefteye_x"):
        column = [int(row[header.index(name)]) for row in rows]
        assert [each[name] for each in features] == column
    written = np.loadtxt(folder / "latents.tsv")
    np.testing.assert_allclose(latents, written, rtol=1e-6)
    browser.wait("their number", lambda: browser.texts(".numDataPoints") == ["13"])


def test_texts_are_shown(browser: Browser) -> None:
    # Matching texts stand first and are unfolded.
    browser.open("text&tagFilter=.")
    for text in ("latent_dim\t3\t100", "96 examples", "beta = 7.68"):
        browser.wait(
            text,
            lambda text=text: any(text in each for each in browser.texts("#markdown")),
        )
