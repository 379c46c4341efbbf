"""Verifies, reads, remakes and resumes golden datasets; only posteriors may round."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from tests.golden import golden_commands as golden

DATASETS = (*golden.PREPARED, "latents")


def contents(dataset: pathlib.Path) -> dict[str, bytes]:
    """Returns the bytes of each file by name, with the manifest's versions removed."""
    paths = filter(pathlib.Path.is_file, dataset.iterdir())
    actual = {path.name: path.read_bytes() for path in paths}
    manifest = json.loads(actual["manifest.json"])
    assert manifest.pop("versions")
    return {**actual, "manifest.json": json.dumps(manifest).encode()}


def digest_of(name: str) -> str:
    return json.loads((golden.HERE / name / "manifest.json").read_text())["digest"]


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_is_what_was_written(name: str) -> None:
    message = golden.run("pipeline.verify", f"--dataset={golden.HERE / name}")
    assert message.startswith("OK: ")
    assert message.endswith(f"dataset digest: {digest_of(name)}\n")


@pytest.mark.parametrize("name", DATASETS)
def test_the_trainer_reads_the_same_values(name: str) -> None:
    actual = golden.hashes(golden.records(golden.HERE / name))
    assert actual == golden.expected(f"records-{name}")


@pytest.mark.parametrize("name", golden.PREPARED)
def test_the_same_images_make_the_same_files(name: str, tmp_path: pathlib.Path) -> None:
    golden.prepare(golden.PREPARED[name], golden.HERE / "faces", tmp_path / name)
    assert contents(tmp_path / name) == contents(golden.HERE / name)


def test_the_same_images_make_the_same_digest_of_floats(tmp_path: pathlib.Path) -> None:
    faces, output = golden.HERE / "faces", tmp_path / "float32"
    message = golden.prepare(golden.PREPARED_FLOAT32, faces, output)
    digest = golden.expected("dataset_float32")["digest"]
    assert message == f"dataset digest: {digest}\n"


def test_an_unfinished_dataset_is_gone_on_with(tmp_path: pathlib.Path) -> None:
    dataset = shutil.copytree(golden.HERE / "dataset", tmp_path / "dataset")
    lost = dataset / "celeba-train.tfrecord-00001-of-00004"
    kept = dataset / "celeba-train.tfrecord-00002-of-00004"
    written_at = kept.stat().st_mtime_ns
    for path in (lost, dataset / "manifest.json"):
        path.unlink()
    golden.prepare(golden.PREPARED["dataset"], golden.HERE / "faces", dataset)
    assert contents(dataset) == contents(golden.HERE / "dataset")
    assert kept.stat().st_mtime_ns == written_at


def test_an_export_encodes_to_the_same_latents(tmp_path: pathlib.Path) -> None:
    export = golden.unpack_export(tmp_path)
    golden.encode(export, golden.HERE / "dataset", tmp_path / "latents")
    latents = golden.records(tmp_path / "latents")
    for name, values in golden.records(golden.HERE / "latents").items():
        actual = latents.pop(name)
        assert actual.dtype == values.dtype
        # The processor's rounding changes the last digits of posteriors.
        if values.dtype == np.float32:
            np.testing.assert_allclose(actual, values, rtol=0, atol=1e-5)
        else:
            np.testing.assert_array_equal(actual, values)
    assert not latents
