"""TensorFlow Datasets prepares a data set that a test registers."""

import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import download_manager

from pipeline import contract, sources
from pipeline.jobs import preparing
from pipeline.jobs.dataset_job import DatasetJob
from pipeline.planning.dataset_settings import Settings

NUM_IMAGES = {"train": 12, "test": 3}
# The error that the next build raises, if any.
fault: list[Exception] = []


class VaelineShapes(tfds.core.GeneratorBasedBuilder):
    """Registered as `vaeline_shapes`."""

    VERSION = tfds.core.Version("1.2.0")

    def _info(self):
        features = tfds.features
        return tfds.core.DatasetInfo(
            builder=self,
            features=features.FeaturesDict(
                {
                    "image": features.Image(shape=(8, 8, 3)),
                    "label": features.ClassLabel(names=["dark", "light"]),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        for error in fault:
            raise error
        return {
            split: self._generate_examples(num) for split, num in NUM_IMAGES.items()
        }

    def _generate_examples(self, num_images):
        for at in range(num_images):
            pixels = np.full((8, 8, 3), 20 * at, np.uint8)
            yield at, {"image": pixels, "label": at % 2}


@pytest.fixture
def home(tmp_path, monkeypatch) -> pathlib.Path:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "home"))
    fault.clear()
    return tmp_path / "home"


def test_a_data_set_is_prepared_once_and_read_by_name(home, tmp_path):
    settings = Settings(source="tfds", image_size=8, image_dtype="uint8")
    job = DatasetJob(str(tmp_path / "out"))
    manifest = preparing.prepare(
        settings, job, input_dir="vaeline_shapes", download=True
    )
    assert manifest is not None
    assert {name: x.num_examples for name, x in manifest.splits.items()} == NUM_IMAGES
    assert manifest.features["label"].names == ("dark", "light")
    # It is there now, so nothing is downloaded.
    fault.append(RuntimeError("built again"))
    expected = str(home / "vaeline_shapes" / "1.2.0")
    for download in (False, True):
        assert sources.locate("tfds", "vaeline_shapes", download=download) == expected


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            download_manager.NonMatchingChecksumError("Artifact https://x, wrong"),
            r"cannot be prepared: a downloaded file has another checksum than the data "
            r"set's \(Artifact https://x, wrong.*\). Google Drive sends a page .* "
            r"quota is spent: remove .*/home/downloads, and make the same call again",
        ),
        (
            OSError("Failed to get url https://x: HTTP code: 429"),
            "the server refuses the download for now, perhaps because its quota is sp",
        ),
        (
            ConnectionError("no route to host"),
            r"a file cannot be downloaded or written \(no route to host\): check the "
            "network and the disk, and make the same call again",
        ),
        (
            AssertionError("Manual directory x does not exist"),
            r"must be downloaded by hand to .*/home/downloads/manual \(Manual direct",
        ),
        (
            ModuleNotFoundError("No module named 'scipy'"),
            r"needs another package \(No module named 'scipy'\): install it with pip",
        ),
        (KeyError("x"), "cannot be prepared: KeyError: x"),
    ],
)
def test_an_error_of_the_library_is_explained(home, error, text):
    fault.append(error)
    with pytest.raises(contract.DatasetError, match=f"^input=vaeline_shapes .*{text}"):
        sources.locate("tfds", "vaeline_shapes", download=True)
    assert not list(home.glob("vaeline_shapes/1.2.0/dataset_info.json"))


def test_an_unknown_name_is_explained(home):
    with pytest.raises(
        contract.DatasetError,
        match="TensorFlow Datasets has no data set vaeline_circles: give a name of",
    ):
        sources.locate("tfds", "vaeline_circles", download=True)
