"""Pictures of the browser: probabilities beside draws, and the end of its loop."""

import io
import pathlib
import subprocess

import numpy as np
import pytest

from tests import preloaded
from tests.golden import golden_commands as golden
from tests.trainer.trained_runs import ROOT
from trainer.generation import browser, sampling
from trainer.reporting import image_grid
from trainer.runs.trained import TrainedRun


def columns(path: pathlib.Path, side: int) -> np.ndarray:
    """Returns the images of a picture from left to right, `[n, side, side, 3]`."""
    picture = image_grid.load_png(path)
    assert picture.shape[0] == side
    return np.stack(np.split(picture, picture.shape[1] // side, axis=1))


def levels(images: np.ndarray) -> np.ndarray:
    """Returns the grey levels of values from -1 to 1."""
    return np.round((np.clip(images, -1, 1) + 1) * 127.5)


def browse_two(run: TrainedRun, output: pathlib.Path) -> list[np.ndarray]:
    answers = iter("yn")
    num = browser.browse(run, output, "test", None, 0, lambda _: next(answers))
    assert num == 2
    side = run.manifest.image_shape[0]
    return [columns(output / f"browse-{index:04d}.png", side) for index in range(num)]


def expected_means(run: TrainedRun, index: int) -> np.ndarray:
    """Returns original, decoded posterior mean and decoded prior draw of a picture."""
    batch = next(run.batches("test", 3))
    condition = batch["conditions"][index : index + 1]
    z, _ = run.vae.encode(batch["input"][index : index + 1], condition)
    prior = sampling.draw_prior(run, 2, seed=0)[index : index + 1]
    decoded = [run.vae.mean_image(each, condition) for each in (z, prior)]
    return np.concatenate([batch["image"][index : index + 1], *decoded])


def test_binary_pictures_have_probabilities_and_draws(
    binary_run: TrainedRun, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = browse_two(binary_run, tmp_path)
    for index, picture in enumerate(pictures):
        original, mean, draw, sample, sample_draw = picture
        expected = levels(expected_means(binary_run, index))
        for actual, target in zip((original, mean, sample), expected, strict=True):
            np.testing.assert_allclose(actual, target, atol=1)
        for probability, drawn in ((mean, draw), (sample, sample_draw)):
            assert set(np.unique(drawn)) == {0, 255}
            assert not set(np.unique(probability)) <= {0, 255}
            # 192 draws with the probabilities shown.
            share = np.mean(drawn / 255.0 - probability / 255.0)
            assert share == pytest.approx(0, abs=0.15)
    assert (pictures[0][2] != pictures[1][2]).any()
    names = (
        "original, reconstruction (probabilities, draw), sample (probabilities, draw)"
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{tmp_path}/browse-{index:04d}.png: {names}" for index in range(2)
    ]


def test_pictures_of_faces_have_no_noise(
    face_run: TrainedRun, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index, picture in enumerate(browse_two(face_run, tmp_path)):
        expected = levels(expected_means(face_run, index))
        np.testing.assert_allclose(picture, expected, atol=1)
    assert "browse-0001.png: original, reconstruction, sample\n" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("typed", "num_shown"),
    [("n\n", 1), ("N\n", 1), ("", 1), ("\ny\nno\n", 3), ("y\n", 2), ("or\nn\n", 2)],
)
def test_the_loop_reads_standard_input_to_its_end(
    binary_run: TrainedRun,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: str,
    num_shown: int,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert browser.browse(binary_run, tmp_path, "test", None, 0) == num_shown
    assert len(list(tmp_path.glob("browse-*.png"))) == num_shown
    assert capsys.readouterr().out.count("another? [Y/n] ") == num_shown


def test_originals_start_again_after_the_last(
    binary_run: TrainedRun, tmp_path: pathlib.Path
) -> None:
    answers = iter("yyyyn")

    def ask(_: str) -> str:
        return next(answers)

    assert browser.browse(binary_run, tmp_path, "test", None, 0, ask) == 5
    originals = [
        columns(path, 8)[0].tobytes() for path in sorted(tmp_path.glob("*.png"))
    ]
    assert len(set(originals)) == 3
    assert originals[3:] == originals[:2]


@pytest.mark.parametrize(("typed", "num_shown"), [("y\nN\n", 2), ("", 1)])
def test_the_command_answers_to_a_pipe_and_ends_cleanly(
    tmp_path: pathlib.Path, typed: str, num_shown: int
) -> None:
    done = subprocess.run(
        [
            *(preloaded.shared_python(), "-m", "trainer.generate", "--mode=browse"),
            f"--workdir={golden.HERE / 'run_folder'}",
            f"--dataset={golden.HERE / 'dataset_folder'}",
            *("--split=test", f"--output={tmp_path}"),
        ],
        cwd=ROOT,
        input=typed,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.count("another? [Y/n] ") == num_shown
    assert len(list(tmp_path.glob("browse-*.png"))) == num_shown
