import json
import pathlib

import numpy as np
import pytest

from pipeline import contract
from runs import Run, run_module
from trainer import posteriors, trained


@pytest.fixture(scope="module")
def run(reference_run: Run) -> trained.TrainedRun:
    return trained.load(reference_run.workdir)


@pytest.fixture(scope="module")
def latents_dir(
    reference_run: Run,
    dataset_dir: pathlib.Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """Returns what the commands make of the run and its dataset."""
    root = tmp_path_factory.mktemp("latents")
    done = run_module(
        "trainer.export",
        f"--workdir={reference_run.workdir}",
        f"--output={root / 'export'}",
    )
    assert done.returncode == 0, done.stderr
    done = run_module(
        "pipeline.encode",
        f"--model={root / 'export'}",
        f"--dataset={dataset_dir}",
        f"--output={root / 'latents'}",
    )
    assert done.returncode == 0, done.stderr
    return str(root / "latents")


@pytest.mark.parametrize("split", ["train", "validation", "test+train"])
def test_latents_are_those_of_the_runs_encoder(
    run: trained.TrainedRun, latents_dir: str, split: str
) -> None:
    made = posteriors.encode_split(run, split)
    read = posteriors.encode_split(run, split, latents_dir)
    assert read.keys.tolist() == made.keys.tolist()
    for name in contract.LATENTS:
        found, expected = getattr(read, name), getattr(made, name)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert read.features.keys() == made.features.keys() == {"attributes", "landmarks"}
    for name, values in read.features.items():
        np.testing.assert_array_equal(values, made.features[name])


def test_a_model_has_one_digest(reference_run: Run, run: trained.TrainedRun) -> None:
    again = trained.load(reference_run.workdir)
    assert again.model_digest == run.model_digest
    variable = next(iter(again.vae.named_variables().values()))
    values = np.array(variable)
    values.flat[0] = np.nextafter(values.flat[0], np.float32(9))
    variable.assign(values)
    assert again.model_digest != run.model_digest


def test_latents_of_another_model_or_dataset_are_refused(
    reference_run: Run, latents_dir: str, tmp_path: pathlib.Path
) -> None:
    run = trained.load(reference_run.workdir)
    body = json.loads(pathlib.Path(latents_dir, "manifest.json").read_text())
    manifest = contract.load_manifest(latents_dir)
    for name in ("model", "dataset"):
        settings = {**body["settings"], name: "ab"}
        other = contract.Manifest(
            manifest.name,
            settings,
            manifest.source_fingerprint,
            manifest.features,
            manifest.splits,
        )
        (tmp_path / "manifest.json").write_text(other.to_json())
        with pytest.raises(
            ValueError, match=f"are of the {name} of digest ab, and the"
        ):
            posteriors.encode_split(run, "test", str(tmp_path))
    with pytest.raises(ValueError, match="holds images: give the --output of a pipel"):
        posteriors.check_latents(run, run.dataset_dir)
    with pytest.raises(ValueError, match="does not exist"):
        posteriors.check_latents(run, str(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("binarize", "dynamic", "black and white by chance"),
        ("input_noise_stddev", 0.5, "with noise by chance"),
        ("input_drop_fraction", 0.5, "with noise by chance"),
    ],
)
def test_what_an_encoder_sees_by_chance_has_no_latents(
    reference_run: Run, latents_dir: str, name: str, value: object, what: str
) -> None:
    run = trained.load(reference_run.workdir)
    run.config[name] = value
    with pytest.raises(ValueError, match=f"{what}.*leave the flag out"):
        posteriors.check_latents(run, latents_dir)


def test_evaluate_and_generate_read_latents(
    reference_run: Run, latents_dir: str, tmp_path: pathlib.Path
) -> None:
    flags = [f"--workdir={reference_run.workdir}", "--split=test"]
    found = []
    for name, more in (("made", []), ("read", [f"--latents={latents_dir}"])):
        output = tmp_path / f"{name}.json"
        done = run_module("trainer.evaluate", *flags, f"--output={output}", *more)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(output.read_text()))
    made, read = found
    for name in ("active_units", "num_examples", "elbo"):
        assert read[name] == made[name]
    assert read["probe"]["attributes"]["accuracy"] == pytest.approx(
        made["probe"]["attributes"]["accuracy"], abs=0.01
    )
    assert read["kl_per_latent"] == pytest.approx(made["kl_per_latent"], rel=1e-3)
    flags += [f"--output={tmp_path}", f"--latents={latents_dir}"]
    done = run_module("trainer.generate", *flags, "--mode=transform")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "transform-test.npz") as arrays:
        assert arrays["posterior_mean"].shape == (made["num_examples"], 8)
    done = run_module("trainer.generate", *flags, "--mode=reconstruct")
    assert done.returncode == 1
    assert "is for --mode=decode, a file, and for --mode=transform" in done.stderr


def test_training_on_latents_is_refused(
    latents_dir: str, dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    done = run_module(
        "trainer.train",
        "--config=configs/celeba_debug.py",
        f"--dataset={latents_dir}",
        f"--workdir={tmp_path / 'run'}",
    )
    assert done.returncode == 1
    assert "holds latents, and no images: give the --dataset" in done.stderr
    assert "Traceback" not in done.stderr
