import dataclasses
import json
import pathlib
import types

import numpy as np
import pytest

from pipeline import contract
from tests.trainer.trained_runs import Run
from trainer.analysis import examples
from trainer.generation import attribute_directions, browser, sampling
from trainer.reporting import image_grid, sample_grids
from trainer.runs import trained

NOTHING = np.zeros([1, 0], np.float32)


@pytest.fixture(scope="module")
def run(reference_run: Run) -> trained.TrainedRun:
    return trained.load(reference_run.workdir)


def test_examples_are_the_first_that_satisfy_the_condition(
    run: trained.TrainedRun,
) -> None:
    names = run.manifest.features["attributes"].names
    column = names.index("Smiling")
    everything = next(run.batches("train", 96))
    for value in (0, 1):
        chosen = everything["attributes"][:, column] == value
        actual = examples.find_examples(run, "train", 5, f"Smiling={value}")
        np.testing.assert_array_equal(actual.images, everything["image"][chosen][:5])
        np.testing.assert_array_equal(actual.keys, everything["key"][chosen][:5])
    assert len(examples.find_examples(run, "validation", 1000).keys) == 11


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("Smiling", "must be NAME=VALUE with an integer, as in label=7"),
        ("Smiling=yes", "must be NAME=VALUE"),
        (
            "label=7",
            "where=label=7 names no feature of the dataset; it has "
            "5_o_Clock_Shadow, Arched",
        ),
        ("Smiling=2", "where=Smiling=2 matches no example of split 'validation'"),
    ],
)
def test_conditions_that_find_nothing_are_named(
    run: trained.TrainedRun, where: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        examples.find_examples(run, "validation", 5, where)


def test_a_label_whose_classes_have_names_is_a_condition() -> None:
    features = {
        "label": contract.Feature("int64", (), ("cat", "dog")),
        "attributes": contract.Feature("int64", (1,), ("Bald",)),
    }
    run = types.SimpleNamespace(manifest=types.SimpleNamespace(features=features))
    batch = {
        "key": np.array([b"a", b"b", b"c"]),
        "label": np.array([0, 1, 1]),
        "attributes": np.array([[1], [1], [0]]),
    }
    for where, expected in (("label=1", [0, 1, 1]), ("Bald=1", [1, 1, 0])):
        actual = examples._satisfying(run, batch, where)
        assert actual.tolist() == [bool(value) for value in expected]


def test_latents_are_decoded_alike_in_any_number(run: trained.TrainedRun) -> None:
    z = sampling.draw_prior(run, 230, seed=0)
    np.testing.assert_array_equal(z[:3], sampling.draw_prior(run, 230, seed=0)[:3])
    assert abs(z.mean()) < 0.1
    assert z.std() == pytest.approx(1, abs=0.05)
    decoded = sampling.decode(run, z, NOTHING, seed=0)
    assert decoded.mean.shape == decoded.sample.shape == (230, 32, 32, 3)
    np.testing.assert_allclose(
        decoded.mean[205:207],
        run.vae.mean_image(z[205:207], NOTHING),
        rtol=1e-4,
        atol=1e-5,
    )
    np.testing.assert_allclose(decoded.probability, (decoded.mean + 1) / 2)


def test_posterior_draws_scatter_about_their_mean(run: trained.TrainedRun) -> None:
    actual = examples.find_examples(run, "train", 90)
    mean, log_var = sampling.encode(run, actual)
    z = sampling.draw_posteriors(run, actual, seed=3)
    noise = (z - mean) / np.exp(log_var / 2)
    assert abs(noise.mean()) < 0.15
    assert noise.std() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("shape", [(3,), (2, 7), (0, 8), (2, 8, 1)])
def test_latents_of_another_shape_are_refused(
    run: trained.TrainedRun, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"this run needs \[n, 8\]"):
        sampling.decode(run, np.zeros(shape), NOTHING, seed=0)
    with pytest.raises(ValueError, match="must be finite"):
        sampling.decode(run, np.full((1, 8), np.nan), NOTHING, seed=0)


def test_latents_of_the_user_are_read(tmp_path: pathlib.Path) -> None:
    (tmp_path / "many.json").write_text("[[1, 2.5], [3, 4]]")
    (tmp_path / "one.json").write_text("[1, 2.5]")
    np.save(tmp_path / "many.npy", np.array([[1, 2.5], [3, 4]]))
    for name in ("many.json", "many.npy"):
        actual = sampling.load_latents(tmp_path / name)
        assert actual.tolist() == [[1, 2.5], [3, 4]]
    assert sampling.load_latents(tmp_path / "one.json").tolist() == [[1, 2.5]]
    for text in ('{"z": [1]}', "[[1, 2], [3]]", "no JSON", '["a"]'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match="nor a JSON list of lists of numbers"):
            sampling.load_latents(tmp_path / "bad.json")


def test_a_traversal_changes_one_latent() -> None:
    rows = sample_grids.traverse(np.array([5.0, 6.0, 7.0]), [2, 0], limit=3, num=3)
    assert rows.tolist() == [
        [[5, 6, -3], [5, 6, 0], [5, 6, 3]],
        [[-3, 6, 7], [0, 6, 7], [3, 6, 7]],
    ]
    with pytest.raises(
        ValueError, match="^`dimensions` has 3: a latent must be from 0 to 2"
    ):
        sample_grids.traverse(np.zeros(3), [3], limit=3, num=3)


@pytest.mark.parametrize(
    ("answers", "shown"), [("n", 1), ("N", 1), ("yyn", 3), ("  no", 1), ("y", 2)]
)
def test_browsing_ends_when_the_user_has_enough(
    run: trained.TrainedRun, tmp_path: pathlib.Path, answers: str, shown: int
) -> None:
    waiting = [answers] if " " in answers else list(answers)

    def ask(question: str) -> str:
        assert question.startswith("another?")
        if not waiting:
            raise EOFError
        return waiting.pop(0)

    assert browser.browse(run, tmp_path, "validation", None, 0, ask) == shown
    drawn = sorted(tmp_path.glob("*.png"))
    assert len(drawn) == shown
    assert image_grid.load_png(drawn[0]).shape == (32, 96, 3)


def test_pictures_are_shown_in_characters() -> None:
    picture = np.zeros([3, 2, 3], np.uint8)
    picture[0, 0] = [255, 0, 7]
    lines = browser.in_characters(picture).split("\n")
    assert len(lines) == 2
    assert lines[0].count("\N{UPPER HALF BLOCK}") == 2
    assert "38;2;255;0;7m" in lines[0]
    wide = browser.in_characters(np.zeros([4, 400, 1], np.uint8)).split("\n")
    assert wide[0].count("\N{UPPER HALF BLOCK}") == 134


@pytest.mark.slow
def test_modes_write_their_files(reference_run: Run, tmp_path: pathlib.Path) -> None:
    from tests.trainer.trained_runs import run_module

    latents = tmp_path / "z.json"
    latents.write_text(json.dumps([[0.0] * 8]))
    expected = {
        "reconstruct": ["png", "npz"],
        "posterior": ["png", "npz"],
        "sample": ["png", "npz"],
        "decode": ["png", "npz"],
        "transform": ["npz"],
        "traverse": ["png", "gif", "npz"],
        "attributes": ["png", "npz", "json"],
        "neighbours": ["png", "npz"],
    }
    for mode, kinds in expected.items():
        output = tmp_path / mode
        done = run_module(
            "trainer.generate",
            f"--workdir={reference_run.workdir}",
            f"--mode={mode}",
            f"--output={output}",
            *([f"--latents={latents}"] if mode == "decode" else []),
            "--num=4",
        )
        assert done.returncode == 0, done.stderr
        name = "decode-num=4-latents=z" if mode == "decode" else f"{mode}-num=4"
        names = [f"{name}.{kind}" for kind in kinds]
        assert sorted(path.name for path in output.iterdir()) == sorted(names)
        if mode == "attributes":
            rows = json.loads((output / "attributes-num=4.json").read_text())
            lines = done.stdout.splitlines()[1:-1]
            assert [line.split()[0] for line in lines] == [
                row["attribute"] for row in rows
            ]
            with np.load(output / "attributes-num=4.npz") as actual:
                assert actual["names"].tolist() == [row["attribute"] for row in rows]
                assert actual["directions"].shape == (len(rows), 8)
            image = image_grid.load_png(output / "attributes-num=4.png")
            # Images of 32 px are drawn at twice their size, below and beside their
            # labels.
            assert image.shape[0] == 26 + 64 * len(rows)
            assert image.shape[1] > 64 * 4 + 26
        if mode == "neighbours":
            assert "memorisation ratio: " in done.stdout


def test_attributes_that_cannot_be_tried_are_named(run: trained.TrainedRun) -> None:
    actual = examples.find_examples(run, "validation", 1)

    def explore(of: trained.TrainedRun, *names: str) -> None:
        attribute_directions.explore(of, actual, "validation", names, 1.0, 3, seed=0)

    with pytest.raises(
        ValueError,
        match="^`attributes` has the unknown name Nose: give names from 5_o_Clock",
    ):
        explore(run, "Nose")
    manifest = dataclasses.replace(run.manifest, features={})
    with pytest.raises(ValueError, match="^mode=attributes needs a dataset with"):
        explore(dataclasses.replace(run, manifest=manifest), "Smiling")
