"""Uses a trained run as a library."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tensorflow as tf

import trainer
from pipeline import contract
from pipeline.images import squares
from tests.trainer.trained_runs import ROOT, Run
from trainer.analysis import posteriors
from trainer.analysis.user_images import UserImages
from trainer.api.run import Run as LoadedRun
from trainer.runs import trained


@pytest.fixture(scope="module")
def run(moved_dir: pathlib.Path) -> LoadedRun:
    return trainer.load_run(moved_dir)


@pytest.fixture(scope="module")
def faces(
    faces_dir: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> list[pathlib.Path]:
    """Returns the first five image files of the dataset."""
    folder = tmp_path_factory.mktemp("faces")
    with zipfile.ZipFile(faces_dir / "img_align_celeba.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[:5]
        return [pathlib.Path(archive.extract(name, folder)) for name in names]


def test_a_run_says_what_it_is(run: LoadedRun, reference_run: Run) -> None:
    assert run.step == 50
    assert run.image_shape == (32, 32, 3)
    assert run.config.latent_dim == run.latent_dim
    rows = run.metrics()
    assert {row["split"] for row in rows} == {"train", "validation"}
    assert rows[-1]["step"] == 50
    assert rows == [
        json.loads(line)
        for line in (reference_run.workdir / "metrics.jsonl").read_text().splitlines()
    ]


def test_image_files_have_the_posteriors_of_their_records(
    run: LoadedRun, reference_run: Run, faces: list[pathlib.Path]
) -> None:
    encoded = posteriors.encode_split(
        trained.load(reference_run.workdir), "train+validation+test"
    )
    rows = [encoded.keys.tolist().index(path.name) for path in faces]
    actual = run.encode([str(faces[0]), *faces[1:]])
    assert actual.mean.shape == actual.log_var.shape == (5, run.latent_dim)
    np.testing.assert_allclose(
        actual.mean, encoded.posterior_mean[rows], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        actual.log_var, encoded.posterior_log_var[rows], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(actual.stddev**2, np.exp(actual.log_var), rtol=1e-5)


def test_arrays_and_datasets_are_encoded_as_files_are(
    run: LoadedRun, faces: list[pathlib.Path]
) -> None:
    pixels = np.stack([squares.decode(path.read_bytes()) for path in faces])
    expected = run.encode(pixels).mean
    np.testing.assert_array_equal(run.encode(faces).mean, expected)
    labels = np.arange(5)
    plain = tf.data.Dataset.from_tensor_slices(pixels)
    for images in (
        list(pixels),
        (image for image in pixels),
        plain,
        plain.batch(2),
        tf.data.Dataset.from_tensor_slices((pixels, labels)),
        tf.data.Dataset.from_tensor_slices({"label": labels, "image": pixels}),
    ):
        np.testing.assert_array_equal(run.encode(images).mean, expected)
    small = pixels[:, 40:72, 40:72].astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(
        run.encode(small).mean,
        run.encode(pixels[:, 40:72, 40:72]).mean,
        rtol=1e-3,
        atol=1e-2,
    )


def test_more_images_than_a_batch_are_encoded_alike(run: LoadedRun) -> None:
    images = np.random.default_rng(0).integers(0, 256, [203, 32, 32, 3], np.uint8)
    whole = run.encode(images).mean
    assert len(whole) == 203
    np.testing.assert_allclose(run.encode(images[200:]).mean, whole[200:], atol=1e-5)


def test_images_come_out_as_pixels(run: LoadedRun, faces: list[pathlib.Path]) -> None:
    samples = run.sample(3, seed=1)
    assert samples.dtype == np.uint8
    assert samples.shape == (3, 32, 32, 3)
    np.testing.assert_array_equal(run.sample(3, seed=1), samples)
    assert (run.sample(3, seed=2) != samples).any()
    # At temperature 0 every sample is the decoded mean of the prior.
    middle = run.decode(np.zeros([1, run.latent_dim]))
    np.testing.assert_array_equal(
        run.sample(2, temperature=0.0), np.repeat(middle, 2, axis=0)
    )
    reconstructed = run.reconstruct(faces)
    np.testing.assert_array_equal(
        reconstructed, run.decode(run.encode(faces).mean.tolist())
    )
    way = run.interpolate(faces[0], faces[1], 4)
    assert way.shape == (4, 32, 32, 3)
    np.testing.assert_array_equal(way[[0, -1]], reconstructed[:2])
    mean = run.encode(faces[:2]).mean
    np.testing.assert_array_equal(run.interpolate(*mean, 4), way)
    far = 9 * np.eye(2, run.latent_dim)
    arc, chord = (run.interpolate(*far, 3, spherical=each) for each in (True, False))
    np.testing.assert_array_equal(arc[[0, 2]], chord[[0, 2]])
    assert (arc[1] != chord[1]).any()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "images is empty: give at least one image"),
        (np.zeros([0, 8, 8, 3], np.uint8), "images is empty: give at least one image"),
        ("a.jpg", "'a.jpg' is one path: give a list of paths"),
        (["/nowhere/a.jpg"], "cannot read the image /nowhere/a.jpg"),
        ([__file__], r"test_run.py: unreadable \(no JPEG"),
        (np.zeros([8, 8, 3], np.uint8), r"shape \[n, height, width, channels\], not"),
        (
            np.zeros([1, 8, 8, 1], np.uint8),
            r"uint8 \[8, 8, 1\]: it must be uint8",
        ),
        (np.zeros([1, 8, 8, 3], np.int64), r"int64 \[8, 8, 3\]: it must be uint8"),
        (
            np.zeros([1, 8, 8, 3]),
            r"floats must have the shape \[32, 32, 3\] and values in \[-1, 1\]",
        ),
        (
            np.full([1, 32, 32, 3], 2.0),
            r"the shape \[32, 32, 3\] and values from 2 to 2",
        ),
        (np.full([1, 32, 32, 3], np.nan), "from nan to nan"),
        (
            tf.data.Dataset.from_tensors({"picture": [1]}),
            "has picture, but no 'image'",
        ),
    ],
    ids=str,
)
def test_images_of_another_form_are_refused(
    run: LoadedRun, images: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run.encode(images)


def test_wrong_arguments_are_refused(run: LoadedRun) -> None:
    with pytest.raises(ValueError, match="num=0 must be at least 1"):
        run.sample(0)
    with pytest.raises(
        ValueError, match="an interpolation needs at least 2 steps, not 1"
    ):
        run.interpolate(*np.zeros([2, run.latent_dim]), 1)
    with pytest.raises(ValueError, match=r"latents have the shape \[1, 3\]"):
        run.decode([[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="takes no condition, but got label"):
        run.sample(1, label=3)


def test_a_function_is_called_only_if_it_is_named(moved_dir: pathlib.Path) -> None:
    saved = json.loads((moved_dir / "dataset.json").read_text())["manifest"]
    settings = {**saved["settings"], "preprocess": "numpy:flipud"}
    manifest = dataclasses.replace(trained.load(moved_dir).manifest, settings=settings)
    pixels = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    with pytest.raises(ValueError, match="allow it by .*preprocess='numpy:flipud'"):
        next(UserImages(manifest, None).batches(pixels))
    with pytest.raises(ValueError, match="preprocess='numpy:fliplr' differs from"):
        UserImages(manifest, "numpy:fliplr")
    created = next(UserImages(manifest, "numpy:flipud").batches(pixels))
    plain = dataclasses.replace(manifest, settings=saved["settings"])
    expected = next(UserImages(plain, None).batches(pixels[:, ::-1]))
    np.testing.assert_array_equal(created, expected)


def test_a_dataset_that_is_not_there_is_missed_only_where_it_is_read(
    moved_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    loaded = trained.load(moved_dir)
    with pytest.raises(
        contract.DatasetError,
        match="/nowhere/dataset is missing: give its directory by `dat",
    ):
        next(loaded.batches("train", 1))
    with pytest.raises(contract.DatasetError, match="does not exist"):
        trainer.load_run(moved_dir, tmp_path / "none")
    # A run of an earlier release holds no manifest.
    old = tmp_path / "old"
    shutil.copytree(moved_dir, old)
    dataset = json.loads((old / "dataset.json").read_text())
    changed = {
        **dataset,
        "manifest": {**dataset["manifest"], "source_fingerprint": "ab"},
    }
    (old / "dataset.json").write_text(json.dumps(changed))
    with pytest.raises(contract.DatasetError, match="does not match its own digest"):
        trained.load(old)
    del dataset["manifest"]
    (old / "dataset.json").write_text(json.dumps(dataset))
    with pytest.raises(
        contract.DatasetError,
        match="/nowhere/dataset is missing: give its directory by `dat",
    ):
        trained.load(old)


def test_an_error_names_the_argument(
    moved_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(
        ValueError, match=f"^path={tmp_path} holds no run .*the `path` of"
    ):
        trainer.load_run(tmp_path)
    edited = tmp_path / "edited"
    shutil.copytree(moved_dir, edited)
    config = json.loads((edited / "config.json").read_text())
    config["latent_dim"] += 1
    (edited / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ValueError, match="belongs to another run: .* give the `path` of"
    ):
        trainer.load_run(edited)


def test_an_empty_directory_is_no_dataset(
    moved_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    copied, volume = tmp_path / "run", tmp_path / "volume"
    volume.mkdir()
    shutil.copytree(moved_dir, copied)
    dataset = json.loads((copied / "dataset.json").read_text())
    (copied / "dataset.json").write_text(json.dumps({**dataset, "path": str(volume)}))
    loaded = trained.load(copied)
    assert not loaded.has_dataset
    with pytest.raises(contract.DatasetError, match="volume is missing: give its"):
        next(loaded.batches("train", 1))


@pytest.mark.slow
def test_the_package_is_imported_without_tensorflow(moved_dir: pathlib.Path) -> None:
    program = f"""
import sys
import trainer
assert not {{"tensorflow", "keras", "numpy"}} & set(sys.modules), "on import"
run = trainer.load_run({str(moved_dir)!r})
assert "tensorflow" in sys.modules
print(run.sample(2).shape)
import matplotlib.pyplot
print(matplotlib.get_backend())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "MPLBACKEND": "svg"},
        capture_output=True,
        text=True,
    )
    # The program's figures are shown where the program wants them.
    assert done.stdout == "(2, 32, 32, 3)\nsvg\n", done.stderr
    assert "MPLBACKEND" not in done.stderr
