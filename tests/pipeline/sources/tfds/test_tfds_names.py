"""Names of data sets lead to TensorFlow Datasets' own directory."""

import os
import pathlib
import re

import pytest

from pipeline import contract, sources
from pipeline.sources.tfds import tfds_names

VERSIONS = (
    *("digits/3.0.1", "digits/3.0.10", "digits/3.0.9", "digits/incomplete.x_4.0.0"),
    *("faces/plain/1.0.0", "cats/big/1.0.0", "cats/small/1.0.0", "cats/small/2.0.0"),
)


@pytest.fixture
def home(tmp_path, monkeypatch) -> pathlib.Path:
    home = tmp_path / "home"
    for version in VERSIONS:
        (home / version).mkdir(parents=True)
        (home / version / "dataset_info.json").touch()
    (home / "downloads").mkdir()
    # A version without its description was never finished.
    (home / "digits" / "5.0.0").mkdir()
    monkeypatch.setenv("TFDS_DATA_DIR", str(home))
    return home


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("digits", "digits/3.0.10"),
        ("digits:3.0.9", "digits/3.0.9"),
        ("faces", "faces/plain/1.0.0"),
        ("faces/plain", "faces/plain/1.0.0"),
        ("cats/small", "cats/small/2.0.0"),
        ("cats/small:1.0.0", "cats/small/1.0.0"),
        ("cats:2.0.0", "cats/small/2.0.0"),
    ],
)
def test_a_name_leads_to_its_newest_or_given_version(home, text, found):
    assert sources.locate("tfds", text) == str(home / found)


@pytest.mark.parametrize("text", ["celeb_a", "digits:9.9.9", "faces/other", "digits/x"])
def test_an_absent_data_set_has_its_command(home, text):
    with pytest.raises(contract.DatasetError) as error:
        sources.locate("tfds", text)
    assert str(error.value) == (
        f"input={text} is no path, and {home} has no prepared data set of this name, "
        f"only cats, digits, faces: make it with tfds build {text}, or give "
        "`download=True`, or set TFDS_DATA_DIR to the directory that has it"
    )


def test_an_open_config_is_named(home):
    with pytest.raises(contract.DatasetError) as error:
        sources.locate("tfds", "cats")
    assert str(error.value) == (
        "input=cats has the configs big, small: give one, such as cats/big"
    )


def test_a_path_stays_a_path(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert sources.locate("tfds", "digits") == str(tmp_path / "digits")
    assert sources.locate("tfds", "./celeb_a") == str(tmp_path / "celeb_a")
    assert sources.locate("tfds", "s3://bucket/digits/") == "s3://bucket/digits"
    assert sources.locate("folder", "celeb_a") == str(tmp_path / "celeb_a")


def test_the_directory_is_the_one_of_tensorflow_datasets(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    default = str(tmp_path / "tensorflow_datasets")
    assert tfds_names.data_dir({}) == default
    assert tfds_names.data_dir({"TFDS_DATA_DIR": ""}) == default
    assert tfds_names.data_dir({"TFDS_DATA_DIR": "~/x"}) == os.path.join(tmp_path, "x")


@pytest.mark.parametrize(
    ("source", "text", "message"),
    [
        ("tfds", ".", "input=. is a path: give a name, such as celeb_a, or leave"),
        ("tfds", "./x", "input=./x is no name of a data set: give a name, such as"),
        ("folder", "celeb_a", "`download` does not apply to source=folder, only to tf"),
    ],
)
def test_only_a_name_can_be_downloaded(source, text, message):
    with pytest.raises(contract.DatasetError, match=f"^{re.escape(message)}"):
        sources.locate(source, text, download=True)
