import json
import pathlib
from collections.abc import Callable

import numpy as np
import pytest

from pipeline import contract
from tests.trainer.trained_runs import Run, run_module
from trainer.analysis import nearest_images, posteriors
from trainer.reporting import image_grid
from trainer.runs import trained


@pytest.fixture(scope="module")
def run(reference_run: Run) -> trained.TrainedRun:
    return trained.load(reference_run.workdir)


@pytest.fixture(scope="module")
def encode(
    reference_run: Run, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., str]:
    """Returns a function that runs `pipeline.encode` on the images that flags name."""
    root = tmp_path_factory.mktemp("latents")
    done = run_module(
        "trainer.export",
        f"--workdir={reference_run.workdir}",
        f"--output={root / 'export'}",
    )
    assert done.returncode == 0, done.stderr

    def encode(name: str, *flags: str) -> str:
        output = str(root / name)
        model = f"--model={root / 'export'}"
        done = run_module("pipeline.encode", model, f"--output={output}", *flags)
        assert done.returncode == 0, done.stderr
        return output

    return encode


@pytest.fixture(scope="module")
def latents_dir(encode: Callable[..., str], dataset_dir: pathlib.Path) -> str:
    return encode("latents", f"--dataset={dataset_dir}")


@pytest.fixture(scope="module")
def raw_latents_dir(encode: Callable[..., str], faces_dir: pathlib.Path) -> str:
    """Returns latents of the raw images that the dataset was made from."""
    return encode("raw", f"--input={faces_dir}", "--shard_size=8")


@pytest.fixture(scope="module")
def other_latents_dir(
    encode: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Returns latents of other images: a folder of noise, in two classes."""
    folder = tmp_path_factory.mktemp("folder")
    pixels = np.random.default_rng(0).integers(0, 256, (14, 40, 40, 3), np.uint8)
    for number, image in enumerate(pixels):
        path = folder / ("cats", "dogs")[number % 2] / f"{number}.png"
        image_grid.save_png(path, image)
    flags = ("--source=folder", f"--input={folder}", "--split_fractions=0,0,1")
    return encode("other", *flags)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "validation", "test+train"])
def test_latents_are_those_of_the_runs_encoder(
    run: trained.TrainedRun, latents_dir: str, split: str
) -> None:
    created = posteriors.encode_split(run, split)
    read = posteriors.encode_split(run, split, latents_dir)
    assert read.keys.tolist() == created.keys.tolist()
    for name in contract.LATENTS:
        actual, expected = getattr(read, name), getattr(created, name)
        assert actual.dtype == np.float32
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    assert (
        read.features.keys() == created.features.keys() == {"attributes", "landmarks"}
    )
    for name, values in read.features.items():
        np.testing.assert_array_equal(values, created.features[name])


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
            ValueError, match=f"holds latents of the {name} with digest ab, but"
        ):
            posteriors.encode_split(run, "test", str(tmp_path))
    with pytest.raises(ValueError, match="holds images: give the `output` dir"):
        posteriors.check_latents(run, run.dataset_dir)
    with pytest.raises(ValueError, match="does not exist"):
        posteriors.check_latents(run, str(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("binarize", "dynamic", "binarizes its images at random"),
        ("input_noise_stddev", 0.5, "adds noise to its images at random"),
        ("input_drop_fraction", 0.5, "adds noise to its images at random"),
    ],
)
def test_what_an_encoder_sees_by_chance_has_no_latents(
    reference_run: Run, latents_dir: str, name: str, value: object, what: str
) -> None:
    run = trained.load(reference_run.workdir)
    run.config[name] = value
    with pytest.raises(ValueError, match=f"{what}.*leave the argument out"):
        posteriors.check_latents(run, latents_dir)


@pytest.mark.slow
def test_evaluate_and_generate_read_latents(
    reference_run: Run, latents_dir: str, tmp_path: pathlib.Path
) -> None:
    flags = [f"--workdir={reference_run.workdir}", "--split=test"]
    actual = []
    for name, more in (("made", []), ("read", [f"--latents={latents_dir}"])):
        output = tmp_path / f"{name}.json"
        done = run_module("trainer.evaluate", *flags, f"--output={output}", *more)
        assert done.returncode == 0, done.stderr
        actual.append(json.loads(output.read_text()))
    created, read = actual
    for name in ("active_units", "num_examples", "elbo"):
        assert read[name] == created[name]
    assert read["probe"]["attributes"]["accuracy"] == pytest.approx(
        created["probe"]["attributes"]["accuracy"], abs=0.01
    )
    assert read["kl_per_latent"] == pytest.approx(created["kl_per_latent"], rel=1e-3)
    flags += [f"--output={tmp_path}", f"--latents={latents_dir}"]
    done = run_module("trainer.generate", *flags, "--mode=transform")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("transform-test-*.npz")
    with np.load(path) as arrays:
        assert arrays["posterior_mean"].shape == (created["num_examples"], 8)
    done = run_module("trainer.generate", *flags, "--mode=reconstruct")
    assert done.returncode == 1
    assert "--mode=decode takes a file; --mode=transform" in done.stderr


def test_latents_of_the_raw_images_are_those_of_the_dataset(
    run: trained.TrainedRun, latents_dir: str, raw_latents_dir: str
) -> None:
    one, two = (
        posteriors.encode_split(run, "train+test", path)
        for path in (latents_dir, raw_latents_dir)
    )
    assert one.keys.tolist() == two.keys.tolist()
    np.testing.assert_array_equal(one.posterior_mean, two.posterior_mean)


def test_latents_of_other_images_are_told_apart(
    run: trained.TrainedRun, other_latents_dir: str
) -> None:
    with pytest.raises(
        ValueError, match="of raw images, but the dataset of this run has"
    ):
        posteriors.check_latents(run, other_latents_dir)
    actual = posteriors.open_latents(run, other_latents_dir)
    assert not actual.are_of_dataset
    (batch,) = actual.pictured("test")
    assert len(batch["key"]) == 14
    decoded = run.vae.mean_image(batch["posterior_mean"], np.zeros([14, 0])).numpy()
    np.testing.assert_allclose(batch["image"], decoded, atol=1e-5)


def test_the_nearest_latents_have_their_images(
    run: trained.TrainedRun, latents_dir: str
) -> None:
    latents = posteriors.open_latents(run, latents_dir)
    train = latents.load_split("train")
    rng = np.random.default_rng(0)
    queries = np.concatenate([train.posterior_mean[[5, 60]], rng.normal(size=(9, 8))])
    actual = nearest_images.by_latents(latents, queries.astype(np.float32))
    distances = np.linalg.norm(queries[:, None] - train.posterior_mean, axis=2)
    places = distances.argmin(axis=1)
    assert places[:2].tolist() == [5, 60]
    assert list(actual.keys) == train.keys[places].tolist()
    np.testing.assert_allclose(actual.distances, distances.min(axis=1), atol=1e-5)
    images = np.concatenate([b["image"] for b in run.batches("train", 50)])
    np.testing.assert_array_equal(actual.images, images[places])


def test_neighbours_and_the_projector_read_latents_of_any_images(
    reference_run: Run, other_latents_dir: str, tmp_path: pathlib.Path
) -> None:
    flags = [f"--workdir={reference_run.workdir}", f"--latents={other_latents_dir}"]
    flags += ["--num=3", f"--output={tmp_path}"]
    done = run_module("trainer.generate", *flags, "--mode=neighbours")
    assert done.returncode == 0, done.stderr
    header, *lines, _ = done.stdout.splitlines()
    assert header.split() == ["distance", "nearest"]
    (path,) = tmp_path.glob("neighbours-num=3-*.npz")
    with np.load(path) as arrays:
        keys = [*arrays["keys"], *arrays["example_neighbours"]]
        assert [line.split()[-1] for line in lines] == keys
        assert {key.split("/")[0] for key in keys} <= {"cats", "dogs"}
        assert len(arrays["z"]) == len(arrays["example_keys"]) == 3
    for name in ("samples", "examples"):
        picture = image_grid.load_png(tmp_path / f"{path.stem}-{name}.png")
        assert picture.shape == (32, 6 * 32, 3)
    done = run_module("trainer.generate", *flags, "--mode=project", "--split=test")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "projector-test"
    header, *lines = (folder / "projector/metadata.tsv").read_text().splitlines()
    assert header == "key\tlabel"
    assert all(line.split("\t")[1] == line[:4] for line in lines)
    assert len(lines) == len(np.loadtxt(folder / "projector/latents.tsv")) == 14
    done = run_module("trainer.generate", *flags, "--mode=project", "--split=train")
    assert done.returncode == 1
    assert "no split 'train' in " in done.stderr


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
    assert "holds latents instead of images: give the --dataset" in done.stderr
    assert "Traceback" not in done.stderr
