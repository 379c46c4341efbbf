import dataclasses
import json
import math
import pathlib
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from configs import mnist_mlss
from pipeline import contract
from tests import preloaded
from tests.trainer.trained_runs import Run, run_module
from trainer.analysis import latent_scores, posteriors, scores
from trainer.models.vae import make_vae
from trainer.runs import trained


@pytest.fixture(scope="module")
def run(reference_run: Run) -> trained.TrainedRun:
    return trained.load(reference_run.workdir)


class LinearGaussian:
    """A VAE with a known marginal likelihood: x = z + noise, one value and one latent.

    With z ~ N(0, 1) and x | z ~ N(z, s^2), x ~ N(0, 1 + s^2), and the posterior is
    N(x / (1 + s^2), s^2 / (1 + s^2)).
    """

    stddev = 0.5

    def make(self, bias: float) -> trained.TrainedRun:
        config = mnist_mlss.get_config()
        config.latent_dim = 1
        config.encoder_units = config.decoder_units = ()
        config.likelihood, config.likelihood_stddev = "gaussian", self.stddev
        config.unit_inputs, config.binarize = False, "none"
        vae = make_vae(config, (1, 1, 1))
        total = 1 + self.stddev**2
        weights = {
            "encoder/posterior_mean/kernel": 1 / total,
            "encoder/posterior_mean/bias": bias,
            "encoder/posterior_log_var/kernel": 0.0,
            "encoder/posterior_log_var/bias": math.log(self.stddev**2 / total),
            "decoder/image/kernel": 1.0,
            "decoder/image/bias": 0.0,
        }
        for name, variable in vae.named_variables().items():
            variable.assign(tf.fill(variable.shape, weights[name]))
        images = np.random.default_rng(0).uniform(-1, 1, (50, 1, 1, 1))
        return Planted(config, MANIFEST, "", vae, 0, images.astype(np.float32))


MANIFEST = contract.Manifest(
    name="planted",
    settings={},
    source_fingerprint="ab",
    features={
        "key": contract.Feature("string"),
        "image": contract.Feature("float32", (1, 1, 1)),
    },
    splits={},
)


class Planted(trained.TrainedRun):
    """A run that takes its images from memory."""

    def __init__(self, *fields: object) -> None:
        *rest, images = fields
        super().__init__(*rest)
        object.__setattr__(self, "images", images)

    def batches(self, split: str, batch_size: int):
        yield {
            "image": self.images,
            "input": self.images,
            "key": np.arange(50).astype(str),
            "conditions": np.zeros([50, 0], np.float32),
        }


@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_the_importance_estimate_is_the_marginal_likelihood(bias: float) -> None:
    planted = LinearGaussian().make(bias)
    actual = scores.score_images(planted, "train", num_importance_samples=2000)
    x = planted.images[:, 0, 0, 0].astype(np.float64)
    variance = 1 + LinearGaussian.stddev**2
    exact = np.mean(0.5 * x**2 / variance + 0.5 * math.log(2 * math.pi * variance))
    # With the true posterior every importance weight is p(x), and the mean ELBO is log
    # p(x).
    assert actual["nll_importance"] == pytest.approx(
        exact, abs=1e-4 if not bias else 0.01
    )
    gap = bias**2 / (2 * LinearGaussian.stddev**2 / variance)
    assert -actual["elbo"] == pytest.approx(exact + gap, abs=0.2)
    assert actual["elbo"] == pytest.approx(
        -actual["recon_nll"] - actual["kl"], rel=1e-5
    )


@pytest.mark.slow
def test_scores_do_not_depend_on_the_batch(
    run: trained.TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scores.score_images(run, "validation", num_importance_samples=3)
    monkeypatch.setattr(scores, "_BATCH_SIZE", 4)
    second = scores.score_images(run, "validation", num_importance_samples=3)
    for name in ("kl", "mse_levels", "psnr_db", "ssim"):
        assert first[name] == pytest.approx(second[name], rel=1e-4), name
    assert first["nll_importance"] < -first["elbo"]
    few = scores.score_images(
        run, "validation", num_importance_samples=3, num_importance_examples=2
    )
    assert few["kl"] == pytest.approx(first["kl"])
    monkeypatch.setattr(scores, "_BATCH_SIZE", 1)
    one = scores.score_images(
        run, "validation", num_importance_samples=3, num_importance_examples=1
    )
    assert one["nll_importance"] != few["nll_importance"] != first["nll_importance"]
    with pytest.raises(ValueError, match="num_importance_examples=0 must be at least"):
        scores.score_images(run, "validation", 3, 0)
    with pytest.raises(ValueError, match="num_importance_samples=-1 must not be"):
        scores.score_images(run, "validation", -1)


def test_the_elbo_is_that_of_training(
    run: trained.TrainedRun, reference_run: Run
) -> None:
    logged = reference_run.metrics("validation")[50]
    actual = scores.score_images(run, "validation")
    assert actual["kl"] == pytest.approx(logged["kl"], rel=1e-4)
    # The two ELBOs use different draws of the latents.
    assert actual["elbo"] == pytest.approx(logged["elbo"], rel=1e-2)
    # A hundredth of the ELBO is more than the divergence.
    expected = -actual["recon_nll"] - actual["kl"]
    assert actual["elbo"] == pytest.approx(expected, rel=1e-5)


def test_latents_are_scored(run: trained.TrainedRun) -> None:
    encoded = posteriors.encode_split(run, "train")
    actual = latent_scores.score_latents(encoded)
    assert len(actual["kl_per_latent"]) == 8
    kl = scores.score_images(run, "train")["kl"]
    assert sum(actual["kl_per_latent"]) == pytest.approx(kl, rel=1e-4)
    assert actual["active_units"] == np.sum(encoded.posterior_mean.var(axis=0) > 0.01)
    assert 0 <= actual["aggregate_kl"] <= kl


def test_components_of_the_training_split_are_the_linear_yardstick(
    run: trained.TrainedRun,
) -> None:
    actual = scores.score_pca(run, "train")
    images = next(run.batches("train", 96))["image"].reshape(96, -1)
    centred = images.astype(np.float64) - images.mean(axis=0)
    strengths = np.linalg.svd(centred, compute_uv=False) ** 2
    expected = strengths[8:].sum() / images.size * 127.5**2
    assert actual["num_components"] == 8
    assert actual["mse_levels"] == pytest.approx(expected, rel=1e-3)
    assert scores.score_pca(run, "validation")["mse_levels"] > actual["mse_levels"]


def test_the_command_prints_a_table_and_writes_json(
    reference_run: Run, faces_dir: pathlib.Path
) -> None:
    done = run_module(
        "trainer.evaluate",
        f"--workdir={reference_run.workdir}",
        "--split=train+validation+test",
        "--num_importance_samples=2",
        "--pca",
        f"--factors={faces_dir / 'factors.csv'}",
    )
    assert done.returncode == 0, done.stderr
    path = reference_run.workdir / "evaluation/train-validation-test.json"
    actual = json.loads(path.read_text())
    assert actual["step"] == 50
    assert actual["num_examples"] == 120
    assert (
        f"elbo{actual['elbo']:>42.4f}".split()
        == [line for line in done.stdout.splitlines() if line.startswith("elbo ")][
            0
        ].split()
    )
    for name in ("probe/attributes/Smiling/accuracy", "pca/mse_levels"):
        assert name in done.stdout
    assert 0 <= actual["disentanglement"]["dci_completeness"] <= 1
    wrong = run_module(
        "trainer.evaluate", f"--workdir={reference_run.workdir}", "--split=val"
    )
    assert wrong.returncode == 1
    assert "no split 'val'" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_images_without_a_label_do_not_count_for_the_classifier(run) -> None:
    class Vae:
        classifier = True

        def classify(self, images: tf.Tensor) -> tf.Tensor:
            return tf.one_hot(tf.cast(images, tf.int64), 3)

    class Labelled(trained.TrainedRun):
        def batches(self, split, batch_size):
            labels = {"some": [0, -1, 2, 1], "none": [-1, -1, -1, -1]}[split]
            yield {"input": np.array([0, 1, 2, 2]), "label": np.array(labels)}

    planted = Labelled(run.config, MANIFEST, "", Vae(), 0)
    assert scores.score_classifier(planted, "some") == pytest.approx(2 / 3)
    assert scores.score_classifier(planted, "none") is None


def test_a_table_shows_what_is_undefined() -> None:
    # Use another process, because a process defines the flags of one command only.
    text = "{'active_units': None, 'probe': {'label': None}, 'kl_per_latent': [1.0]}"
    program = (
        f"from trainer.analysis import evaluation; print(evaluation.table({text}))"
    )
    done = subprocess.run(
        [preloaded.shared_python(), "-c", program], capture_output=True, text=True
    )
    assert [line.split() for line in done.stdout.splitlines()[:2]] == [
        ["active_units", "None"],
        ["probe/label", "None"],
    ], done.stderr


def test_components_need_as_many_images(run) -> None:
    info = contract.ShardInfo("d-train.tfrecord-00000-of-00001", 2, 100, "ab")
    splits = {"train": contract.SplitInfo((info,))}
    small = dataclasses.replace(run.manifest, splits=splits)
    with pytest.raises(
        ValueError, match="^`pca=True` needs at least 8 images, .* 'train' has 2"
    ):
        scores.score_pca(dataclasses.replace(run, manifest=small), "train")
