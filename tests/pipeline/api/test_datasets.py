"""Datasets made by a Python call, as a user types it, and by the command."""

import os
import pathlib
import re
import subprocess
import sys
from unittest import mock

import IPython
import numpy as np
import pytest
from apache_beam.utils import interactive_utils
from IPython.core import interactiveshell

import pipeline
from pipeline import contract
from pipeline.jobs import worker
from pipeline.planning import dataset_settings
from pipeline.storage import manifests
from tests.pages import ROOT, read
from tests.pipeline.commands import run_command
from tests.pipeline.sources.mnist.mnist_files import Mnist

SMALL = pipeline.Settings(image_size=8, shard_size=4)


def by_command(input_dir, output, *flags: str) -> str:
    """Returns the digest of the dataset that the command makes."""
    done = run_command(input_dir, output, *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


def files_of(dataset: pathlib.Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in dataset.iterdir() if path.is_file()
    }


def test_a_call_makes_the_files_of_the_command(input_dir, tmp_path):
    manifest = pipeline.prepare_dataset(
        SMALL, input=pathlib.Path(input_dir), output=tmp_path / "a", stats=True
    )
    assert isinstance(manifest, contract.Manifest)
    flags = ("--image_size=8", "--shard_size=4", "--stats")
    assert by_command(input_dir, tmp_path / "b", *flags) == manifest.digest
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert manifests.load(str(tmp_path / "a")) == manifest


def test_a_call_in_a_notebook_makes_the_same_dataset(input_dir, tmp_path, monkeypatch):
    expected = pipeline.prepare_dataset(SMALL, input=input_dir, output=tmp_path / "a")
    shell = mock.create_autospec(interactiveshell.InteractiveShell, instance=True)
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    assert interactive_utils.is_in_ipython()
    actual = pipeline.prepare_dataset(SMALL, input=input_dir, output=tmp_path / "b")
    assert actual == expected


def test_settings_have_the_defaults_of_the_command(tmp_path):
    sizes = {"train": 25, "test": 9}
    pixels = {
        split: np.full((num, 28, 28), 7, np.uint8) for split, num in sizes.items()
    }
    labels = {split: np.arange(num) % 10 for split, num in sizes.items()}
    Mnist(pixels, labels).write(tmp_path / "raw")
    manifest = pipeline.prepare_dataset(
        pipeline.Settings(source="mnist"), input=tmp_path / "raw", output=tmp_path / "a"
    )
    assert manifest.image_shape == (28, 28, 1)
    digest = by_command(tmp_path / "raw", tmp_path / "b", "--source=mnist")
    assert digest == manifest.digest


def test_the_program_of_the_page_runs_as_it_is_shown(make_face, tmp_path):
    (block,) = re.findall(r"```python\n(.*?)```", read("docs/data.md"), re.DOTALL)
    photos = tmp_path / "photos"
    photos.mkdir()
    # With so many images, the call starts worker processes. They must not run the
    # user's program again.
    for number in range(worker.PROCESSES_FROM_IMAGES):
        (photos / f"{number}.jpg").write_bytes(make_face(number))
    program = tmp_path / "program.py"
    program.write_text(f"print('runs')\n{block}\nprint(manifest.digest)\n")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    manifest = contract.load_manifest(tmp_path / "data/photos64")
    assert done.stdout == f"runs\n{manifest.digest}\n"
    flags = ("--source=folder", "--image_size=64", "--split_fractions=0.8,0.1,0.1")
    assert by_command(photos, tmp_path / "b", *flags) == manifest.digest


def test_a_dataset_is_kept_or_overwritten(input_dir, tmp_path):
    output = tmp_path / "out"
    manifest = pipeline.prepare_dataset(SMALL, input=input_dir, output=output)
    before = {path: path.stat().st_mtime_ns for path in output.glob("celeba-*")}
    assert pipeline.prepare_dataset(SMALL, input=input_dir, output=output) == manifest
    assert before == {path: path.stat().st_mtime_ns for path in output.glob("celeba-*")}
    other = pipeline.Settings(image_size=4, shard_size=4)
    with pytest.raises(
        contract.DatasetError,
        match=rf"^output={re.escape(str(output))} has a dataset with other settings "
        r"\(image_size=8 before, 4 now\): give another `output`, or `overwrite=True",
    ):
        pipeline.prepare_dataset(other, input=input_dir, output=output)
    overwritten = pipeline.prepare_dataset(
        other, input=input_dir, output=output, overwrite=True
    )
    assert overwritten.image_shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_workers": 0}, "num_workers=0 must be at least 1"),
        ({"max_rejected_fraction": 2}, "max_rejected_fraction=2 must be from 0 to 1"),
        ({"input": "/nowhere"}, "input=/nowhere does not exist: give the directory"),
        ({"input": ""}, "input is empty: give a path"),
        (
            {"output": "s3:/b/o"},
            "output=s3:/b/o: a URL needs two slashes: give s3://b/o",
        ),
        (
            {"output": pathlib.Path("~no-one/x")},
            "output=~no-one/x: ~no-one is not a user's",
        ),
        (
            {"settings": pipeline.Settings(preprocess="__main__:cut")},
            "preprocess=__main__:cut is in the program itself, which workers do not ru",
        ),
        (
            {"settings": pipeline.Settings(preprocess="no.such:cut")},
            "preprocess=no.such:cut: cannot import no.such (ModuleNotFoundError: No "
            "module named 'no'): it must be on PYTHONPATH, or elsewhere on sys.path",
        ),
    ],
)
def test_an_error_names_the_argument(input_dir, tmp_path, changes, said):
    arguments = {"settings": SMALL, "input": input_dir, "output": tmp_path / "out"}
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        pipeline.prepare_dataset(**{**arguments, **changes})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"image_size": 0}, "image_size=0 must be from 1 to 4096"),
        ({"source": "x"}, "source=x must be one of celeba, mnist"),
        (
            {"deduplicate": True},
            "`deduplicate` does not apply to source=celeba, only to folder: leave "
            "it out, or give another `source`",
        ),
    ],
)
def test_settings_name_the_argument(values, said):
    with pytest.raises(contract.DatasetError, match=f"^{re.escape(said)}"):
        pipeline.Settings(**values)


def test_two_rejected_images_of_thirty_end_a_call_by_default(celeba, tmp_path):
    keys = sorted(celeba.images)[:2]
    celeba.images |= dict.fromkeys(keys, b"no image")
    raw = celeba.write(tmp_path / "raw")
    match = (
        r"^2 of 30 images were rejected, .* more than the 1 allowed by default: "
        rf".*{keys[0]}.*: `max_rejected_fraction=0\.07`$"
    )
    with pytest.raises(contract.DatasetError, match=match):
        pipeline.prepare_dataset(SMALL, input=raw, output=tmp_path / "out")
    manifest = pipeline.prepare_dataset(
        SMALL, input=raw, output=tmp_path / "out", max_rejected_fraction=0.07
    )
    assert sum(sum(x.rejected.values()) for x in manifest.splits.values()) == 2


def test_every_setting_is_an_argument():
    settings = pipeline.Settings(source="folder", seed=1)
    assert isinstance(settings, dataset_settings.Settings)
    assert vars(settings) == vars(dataset_settings.Settings(source="folder", seed=1))
