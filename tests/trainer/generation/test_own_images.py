"""Modes of trainer.generate that take a user's image files in place of examples."""

import dataclasses
import pathlib
import types
import zipfile

import numpy as np
import pytest

from tests.golden import golden_commands as golden
from tests.trainer.generation import test_modes
from trainer.analysis import examples
from trainer.generation import attribute_directions, output_files, requests
from trainer.runs.trained import TrainedRun

IMAGES = 2


@pytest.fixture(scope="module")
def chosen(binary_run: TrainedRun) -> examples.Examples:
    """Returns the first training images with label 1."""
    return examples.find_examples(binary_run, "train", IMAGES, "label=1")


@pytest.fixture
def paths(chosen: examples.Examples, tmp_path: pathlib.Path) -> tuple[str, ...]:
    """Returns the photographs from which the dataset had these images."""
    with zipfile.ZipFile(golden.HERE / "faces" / "img_align_celeba.zip") as photos:
        members = {pathlib.PurePath(name).name: name for name in photos.namelist()}
        return tuple(
            photos.extract(members[pathlib.PurePath(key).name], tmp_path)
            for key in chosen.keys
        )


@pytest.fixture
def output(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "output").mkdir()
    return tmp_path / "output"


def make(
    run: TrainedRun, output: pathlib.Path, mode: str, **changes: object
) -> dict[str, np.ndarray]:
    """Makes the files of a mode, and returns the arrays of the npz."""
    test_modes.make(run, output, mode, **{"where": "label=1", **changes})
    arrays = {}
    for path in output.glob("*.npz"):
        arrays |= test_modes.load(path)
    return arrays


def means(run: TrainedRun, chosen: examples.Examples) -> np.ndarray:
    return np.asarray(run.vae.encode(chosen.inputs, chosen.conditions)[0])


def test_own_images_are_reconstructed(
    binary_run: TrainedRun, chosen, paths, output: pathlib.Path
) -> None:
    arrays = make(binary_run, output, "reconstruct", image=paths)
    assert arrays["keys"].tolist() == list(paths)
    z = means(binary_run, chosen)
    np.testing.assert_allclose(arrays["z"], z, rtol=0, atol=1e-5)
    expected = test_modes.probabilities(binary_run, z, chosen.conditions)
    np.testing.assert_allclose(arrays["probability"], expected, rtol=0, atol=1e-5)
    pictures = test_modes.cells(output / "reconstruct.png", 8)
    test_modes.check_levels(pictures[:4:2], (chosen.images + 1) / 2)


def test_own_images_have_posteriors(
    binary_run: TrainedRun, chosen, paths, output: pathlib.Path
) -> None:
    arrays = make(binary_run, output, "transform", image=paths)
    assert [path.name for path in output.iterdir()] == ["transform.npz"]
    assert arrays["keys"].tolist() == list(paths)
    mean, log_var = binary_run.vae.encode(chosen.inputs, chosen.conditions)
    np.testing.assert_allclose(arrays["posterior_mean"], mean, rtol=0, atol=1e-5)
    np.testing.assert_allclose(arrays["posterior_log_var"], log_var, rtol=0, atol=1e-5)


def test_posteriors_of_own_images_are_drawn(
    binary_run: TrainedRun, chosen, paths, output: pathlib.Path
) -> None:
    arrays = make(binary_run, output, "posterior", image=paths)
    mean, log_var = binary_run.vae.encode(chosen.inputs, chosen.conditions)
    noise = (arrays["z"] - mean) / np.exp(np.asarray(log_var) / 2)
    assert noise.shape == (IMAGES, 4)
    assert 0 < np.abs(noise).max() < 5


def test_own_images_are_the_ends_of_an_interpolation(
    binary_run: TrainedRun, chosen, paths, output: pathlib.Path
) -> None:
    arrays = make(binary_run, output, "interpolate", image=paths, num=5)
    assert arrays["keys"].tolist() == list(paths)
    ends = arrays["z"][[0, -1]]
    np.testing.assert_allclose(ends, means(binary_run, chosen), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("mode", "num", "message"),
    [
        ("interpolate", 1, "mode=interpolate takes 2 images, but `image` has 1"),
        ("traverse", 2, "mode=traverse takes 1 image, but `image` has 2"),
    ],
)
def test_the_number_of_own_images_must_fit(
    binary_run: TrainedRun, paths, output: pathlib.Path, mode, num, message
) -> None:
    with pytest.raises(ValueError, match=message):
        make(binary_run, output, mode, image=paths[:num])


def test_a_traversal_starts_at_an_own_image(
    binary_run: TrainedRun, chosen, paths, output: pathlib.Path
) -> None:
    make(binary_run, output, "traverse", image=paths[1:], num=3, dimensions=["2"])
    z = np.tile(means(binary_run, chosen)[1], (3, 1))
    z[:, 2] = [-2, 0, 2]
    conditions = np.repeat(chosen.conditions[1:], 3, axis=0)
    expected = test_modes.probabilities(binary_run, z, conditions)
    pictures = test_modes.labelled_cells(output / "traverse.png", (1, 3))
    test_modes.check_levels(pictures, expected)


def test_own_images_have_neighbours(
    binary_run: TrainedRun,
    chosen,
    paths,
    output: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arrays = make(binary_run, output, "neighbours", image=paths)
    assert arrays["distances"].tolist() == [0] * IMAGES, "they are training images"
    assert arrays["neighbours"].tolist() == chosen.keys.tolist()
    pictures = test_modes.cells(output / "neighbours.png", 8)
    np.testing.assert_array_equal(pictures[:4:2], pictures[1:4:2])
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines] == chosen.keys.tolist()


def test_attributes_change_the_own_image(
    binary_run: TrainedRun,
    chosen,
    paths,
    output: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # No golden run has attributes without a condition, so the directions are not found.
    shown = []
    monkeypatch.setattr(
        attribute_directions, "explore", lambda run, example, *_: shown.append(example)
    )
    monkeypatch.setattr(output_files, "save_attributes", lambda *_: None)
    make(binary_run, output, "attributes", image=paths[1:])
    np.testing.assert_array_equal(shown[0].images, chosen.images[1:])
    assert shown[0].keys.tolist() == [paths[1]]


@pytest.mark.parametrize("mode", ["sample", "decode", "project", "browse"])
def test_other_modes_take_no_images(mode: str) -> None:
    request = dataclasses.replace(test_modes.REQUEST, mode=mode, image=("a.png",))
    with pytest.raises(ValueError, match=r"image=a.png does not apply .* reconstruct"):
        requests.check(request)


def test_a_function_without_images_is_refused() -> None:
    request = dataclasses.replace(test_modes.REQUEST, preprocess="numpy:flipud")
    with pytest.raises(ValueError, match="`preprocess` applies only to images"):
        requests.check(request)


def test_a_model_of_labels_needs_the_label(output: pathlib.Path) -> None:
    run = types.SimpleNamespace(
        config=types.SimpleNamespace(condition="label"),
        conditioning=types.SimpleNamespace(has_classifier=False),
    )
    with pytest.raises(ValueError, match=r"needs the label .* give where=label=NUMBER"):
        make(run, output, "reconstruct", image=("a.png",), where=None)


def test_a_classifier_finds_the_label(
    binary_run: TrainedRun, paths, output: pathlib.Path
) -> None:
    arrays = make(binary_run, output, "transform", image=paths, where=None)
    assert arrays["posterior_mean"].shape == (IMAGES, 4)


def test_a_model_of_attributes_takes_images_only_in_python(
    face_run: TrainedRun, paths, output: pathlib.Path
) -> None:
    with pytest.raises(ValueError, match=r"trainer.load_run\(PATH\).reconstruct"):
        make(face_run, output, "attributes", image=paths, where=None)


def test_a_missing_file_is_named(binary_run: TrainedRun, output: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="cannot read the image no.png"):
        make(binary_run, output, "reconstruct", image=("no.png",))
