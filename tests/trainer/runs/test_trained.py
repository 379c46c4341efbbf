import json
import pathlib
import shutil

import numpy as np
import pytest

from tests.trainer.trained_runs import Run
from trainer.analysis import posteriors
from trainer.runs import checkpoints, trained


@pytest.fixture(scope="module")
def run(reference_run: Run) -> trained.TrainedRun:
    return trained.load(reference_run.workdir)


def test_the_averaged_weights_and_the_step_are_loaded(
    run: trained.TrainedRun, reference_run: Run
) -> None:
    assert run.step == 50
    loaded = checkpoints.load_newest(reference_run.workdir / "checkpoints")
    assert loaded is not None
    for name, variable in run.vae.named_variables().items():
        np.testing.assert_array_equal(variable, loaded[0][f"ema_vae/{name}"])


def test_a_split_is_read_whole_and_once(run: trained.TrainedRun) -> None:
    total = run.manifest.splits["train"].num_examples
    for batch_size in (7, total):
        batches = list(run.batches("train", batch_size))
        keys = np.concatenate([batch["key"] for batch in batches])
        assert len(set(keys.tolist())) == len(keys) == total
        assert batches[0]["image"].shape == (batch_size, 32, 32, 3)


def test_targets_are_binarised_as_in_training(run: trained.TrainedRun) -> None:
    images = next(run.batches("validation", 5))["image"]
    run.config.binarize = "threshold"
    try:
        cut = next(run.batches("validation", 5))["image"]
    finally:
        run.config.binarize = "none"
    np.testing.assert_array_equal(cut, np.where(images > 0, 1, -1))


def test_a_denoising_model_sees_the_noise_of_its_training(
    run: trained.TrainedRun,
) -> None:
    clean = next(run.batches("validation", 5))
    np.testing.assert_array_equal(clean["input"], clean["image"])
    run.config.input_noise_stddev = 0.5
    try:
        first, again = (next(run.batches("validation", 5)) for _ in range(2))
        encoded = posteriors.encode_split(run, "validation")
    finally:
        run.config.input_noise_stddev = 0.0
    np.testing.assert_array_equal(first["image"], clean["image"])
    np.testing.assert_array_equal(first["input"], again["input"])
    assert np.std(first["input"] - first["image"]) == pytest.approx(0.5, rel=0.02)
    total = run.manifest.splits["validation"].num_examples
    seen = next(run.batches("validation", total))["input"]
    assert np.abs(encoded.posterior_mean - run.vae.encoder(seen)[0]).max() > 1e-3


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("binarize", "dynamic"),
        ("input_noise_stddev", 0.5),
        ("input_drop_fraction", 0.5),
    ],
)
def test_what_is_drawn_for_an_example_does_not_depend_on_the_batch_size(
    run: trained.TrainedRun, setting: str, value: str | float
) -> None:
    default = run.config[setting]
    run.config[setting] = value
    try:
        by_size = {
            size: [
                np.concatenate([batch[name] for batch in run.batches("train", size)])
                for name in ("image", "input")
            ]
            for size in (5, 32, 96)
        }
    finally:
        run.config[setting] = default
    images, inputs = by_size[96]
    assert not np.array_equal(inputs, next(run.batches("train", 96))["image"])
    for size in (5, 32):
        np.testing.assert_array_equal(by_size[size][0], images)
        np.testing.assert_array_equal(by_size[size][1], inputs)


def test_posteriors_come_with_their_keys_and_features(run: trained.TrainedRun) -> None:
    encoded = posteriors.encode_split(run, "validation")
    batch = next(run.batches("validation", 11))
    mean, log_var = run.vae.encoder(batch["image"])
    np.testing.assert_allclose(encoded.posterior_mean, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(encoded.posterior_log_var, log_var, rtol=1e-4, atol=1e-5)
    assert encoded.keys.tolist() == batch["key"].tolist()
    np.testing.assert_array_equal(encoded.features["attributes"], batch["attributes"])
    assert set(encoded.features) == {"attributes", "landmarks"}


def test_no_run_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=r"holds no run \(config.json is missing\)"):
        trained.load(tmp_path)


def test_a_run_without_its_checkpoints_says_so(
    tmp_path: pathlib.Path, reference_run: Run
) -> None:
    for name in ("config.json", "dataset.json"):
        shutil.copy(reference_run.workdir / name, tmp_path)
    with pytest.raises(checkpoints.CheckpointError, match="has no checkpoint: train"):
        trained.load(tmp_path)


def test_another_model_or_dataset_is_refused(
    tmp_path: pathlib.Path, reference_run: Run
) -> None:
    copied = tmp_path / "run"
    shutil.copytree(reference_run.workdir, copied)
    config = json.loads((copied / "config.json").read_text())
    for changes in ({"latent_dim": 5}, {"seed": 9}, {"binarize": "static"}, {"x": 1}):
        (copied / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(
            checkpoints.CheckpointError,
            match="run: the digest of its settings is .* if",
        ):
            trained.load(copied)
    # Settings that a resumed run may change are no reason to refuse the run.
    (copied / "config.json").write_text(json.dumps({**config, "eval_every_steps": 7}))
    assert trained.load(copied).step == 50
    dataset = json.loads((copied / "dataset.json").read_text())
    (copied / "dataset.json").write_text(json.dumps({**dataset, "digest": "ab"}))
    with pytest.raises(ValueError, match="trained on the dataset with digest ab, but"):
        trained.load(copied)


def test_arrays_are_saved_without_pickles(tmp_path: pathlib.Path) -> None:
    trained.save_npz(tmp_path / "a.npz", {"x": np.arange(3), "y": np.array(["k"])})
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["x"].tolist() == [0, 1, 2]
        assert arrays["y"].tolist() == ["k"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "manifest.json",
            r"holds no run \(config.json is missing\), but a dataset: give the "
            "`workdir` of a run of trainer.train$",
        ),
        (
            "cat/1.jpg",
            r"holds no run \(config.json is missing\), but raw images, such as "
            "cat/1.jpg: give the `workdir`",
        ),
        ("b/dataset.json", "x holds several runs: give one, such as .*x/b$"),
    ],
)
def test_a_directory_without_a_run_is_described(
    tmp_path: pathlib.Path, name: str, text: str
) -> None:
    path = tmp_path / "x" / name
    with pytest.raises(ValueError, match="x does not exist: give the `workdir` of a"):
        trained.load(tmp_path / "x")
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(ValueError, match=text):
        trained.load(tmp_path / "x")


def test_a_run_without_newer_settings_is_loaded(
    tmp_path: pathlib.Path, reference_run: Run, run: trained.TrainedRun
) -> None:
    copied = tmp_path / "run"
    shutil.copytree(reference_run.workdir, copied)
    path = copied / "config.json"
    config = json.loads(path.read_text())
    for name in ("condition", "precision", "learning_rate_steps", "decoder_start"):
        del config[name]
    path.write_text(json.dumps(config))
    # Checkpoints of such runs have no digests.
    for meta_path in copied.glob("checkpoints/*/checkpoint.json"):
        meta = json.loads(meta_path.read_text())
        del meta["config_digest"], meta["digest"]
        meta_path.write_text(json.dumps(meta))
    loaded = trained.load(copied)
    assert json.loads(loaded.config.to_json()) == json.loads(run.config.to_json())
