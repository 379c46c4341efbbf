import math
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from configs import mnist_m2
from tests.trainer.trained_runs import Run, run_module, train
from trainer.analysis import scores
from trainer.models import semi_supervised, vae
from trainer.runs import settings, trained

RNG = np.random.default_rng(0)
NUM_CLASSES = 4


def config(**changes: object):
    changed = mnist_m2.get_config()
    changed.update({"num_classes": NUM_CLASSES, **changes})
    return changed


def test_the_class_is_summed_over_where_it_is_unknown() -> None:
    terms = {name: RNG.normal(size=[5, NUM_CLASSES]) for name in ("loss", "elbo", "kl")}
    logits = RNG.normal(size=[5, NUM_CLASSES])
    label = np.array([3, 0, 2, 1, 1])
    labelled = np.array([True, False, True, False, False])
    actual = semi_supervised.marginalise(
        {name: tf.constant(term.ravel(), tf.float32) for name, term in terms.items()},
        tf.constant(logits, tf.float32),
        tf.constant(label),
        tf.constant(labelled),
        label_cost=7.0,
    )
    for row in range(5):
        q = np.exp(logits[row]) / np.exp(logits[row]).sum()
        cost = 0.0
        if labelled[row]:
            cost = -7 * math.log(q[label[row]])
            q = np.eye(NUM_CLASSES)[label[row]]
        kl = sum(p * math.log(p * NUM_CLASSES) for p in q if p > 0)
        mean = {name: term[row] @ q for name, term in terms.items()}
        for name, expected in (
            ("kl", mean["kl"]),
            ("label_kl", kl),
            ("classifier_loss", cost),
            ("elbo", mean["elbo"] - kl),
            ("loss", mean["loss"] + kl + cost),
            ("accuracy", float(logits[row].argmax() == label[row])),
        ):
            assert float(actual[name][row]) == pytest.approx(expected, rel=1e-5), name
    assert set(actual) == {*terms, *semi_supervised.TERMS}


def test_the_labels_that_count_are_a_share_of_the_classes() -> None:
    ids = tf.constant(RNG.integers(-(2**63), 2**63 - 1, 20_000))
    label = tf.constant(RNG.integers(-1, NUM_CLASSES + 1, 20_000))
    batch = {"record_id": ids, "label": label}
    is_class = (label >= 0) & (label < NUM_CLASSES)
    actual = {
        fraction: semi_supervised.is_labelled(batch, fraction, NUM_CLASSES).numpy()
        for fraction in (0.02, 0.2)
    }
    for fraction, labelled in actual.items():
        assert not labelled[~is_class].any()
        assert labelled[is_class].mean() == pytest.approx(fraction, rel=0.15)
    assert not (actual[0.02] & ~actual[0.2]).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labelled_fraction": 0.0}, r"labelled_fraction=0.0 must be in \(0, 1\]"),
        ({"classifier_weight": -1.0}, "classifier_weight=-1.0 must not be negative"),
        ({"condition": "none"}, "needs config.condition=label, not 'none'"),
        ({"objective": "weighted_mse"}, "needs config.objective=elbo"),
        ({"free_bits": 0.5}, "needs config.free_bits=0.0, not 0.5"),
        ({"likelihood_scale": "optimal"}, "needs config.likelihood_scale=fixed"),
    ],
)
def test_settings_are_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings.resolve(config(**changes), 1)


@pytest.mark.parametrize(
    ("filters", "units", "layers"),
    [
        ((), (), ["Dense 256"]),
        ((3, 5), (), ["Conv2D 3", "Conv2D 5"]),
        ((), (7, 6), ["Dense 7", "Dense 6"]),
        ((3, 5), (7,), ["Conv2D 3", "Conv2D 5", "Dense 7"]),
    ],
)
def test_a_classifier_has_the_encoders_layers_or_its_own(
    filters: tuple[int, ...], units: tuple[int, ...], layers: list[str]
) -> None:
    changed = config(classifier_filters=filters, classifier_units=units, base_size=7)
    model = vae.make_vae(changed, (28, 28, 1), NUM_CLASSES)
    assert model.classifier is not None
    actual = [
        f"{type(layer).__name__} {getattr(layer, 'filters', 0) or layer.units}"
        for layer in model.classifier.layers
        if layer.weights
    ]
    assert actual == [*layers, f"Dense {NUM_CLASSES}"]
    assert [v.shape[-1] for v in model.encoder.weights] == [256, 256, 50, 50, 50, 50]
    assert model.classify(tf.zeros([3, 28, 28, 1])).shape == (3, NUM_CLASSES)


def test_filters_of_a_classifier_fit_the_images() -> None:
    changed = config(classifier_filters=(3, 5), base_size=8)
    with pytest.raises(ValueError, match="28 x 28 do not fit `config.classifier_filt"):
        vae.make_vae(changed, (28, 28, 1), NUM_CLASSES)


@pytest.fixture(scope="module")
def stripes_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Returns a dataset of noisy stripes; direction and place define the class."""
    folder = tmp_path_factory.mktemp("stripes")
    arrays = {}
    for split, num in (("train", 800), ("test", 120)):
        labels = RNG.integers(0, NUM_CLASSES, num).astype(np.uint8)
        pixels = RNG.integers(0, 120, [num, 28, 28])
        for image, label in zip(pixels, labels, strict=True):
            first = 4 + 14 * (label // 2) + RNG.integers(-2, 3)
            turned = image if label % 2 else image.T
            turned[first : first + 4] = 255
        arrays[f"x_{split}"] = pixels.astype(np.uint8)
        arrays[f"y_{split}"] = labels
    np.savez(folder / "mnist.npz", **arrays)
    output = folder / "dataset"
    done = run_module(
        "pipeline.prepare",
        "--source=mnist",
        f"--input={folder}",
        f"--output={output}",
        "--shard_size=16",
    )
    assert done.returncode == 0, done.stderr
    return output


def train_on(dataset: pathlib.Path, workdir: pathlib.Path, *flags: str) -> Run:
    run = train(
        dataset,
        workdir,
        f"--config.num_classes={NUM_CLASSES}",
        "--config.encoder_units=(32,)",
        "--config.decoder_units=(32,)",
        "--config.global_batch_size=40",
        *flags,
        config="mnist_m2",
    )
    assert run.returncode == 0, run.output
    return run


@pytest.mark.slow
def test_few_labels_teach_a_classifier(
    stripes_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    run = train_on(
        stripes_dir,
        tmp_path / "run",
        "--config.labelled_fraction=0.1",
        "--config.classifier_weight=1.0",
        "--config.num_train_steps=200",
        "--config.log_every_steps=20",
        "--config.eval_every_steps=100",
        "--config.image_every_steps=200",
    )
    before, after = (run.metrics("test")[step] for step in (0, 200))
    assert before["accuracy"] < 0.6
    assert after["accuracy"] > 0.9
    assert after["elbo"] > before["elbo"] + 100
    # The KL of an unknown class is at most the log of the number of classes.
    assert 0 <= after["label_kl"] <= math.log(NUM_CLASSES)
    assert after["classifier_loss"] == 0
    loaded = trained.load(run.workdir)
    accuracy = scores.score_classifier(loaded, "test")
    assert accuracy == pytest.approx(after["accuracy"])


@pytest.mark.slow
def test_the_number_of_devices_changes_no_bit(
    stripes_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    runs = [
        train_on(
            stripes_dir,
            tmp_path / str(num),
            "--config.num_train_steps=5",
            f"--virtual_devices={num}",
        )
        for num in (1, 2)
    ]
    assert len(runs[0].metrics()) == 5
    assert runs[0].metrics() == runs[1].metrics()
    assert runs[0].metrics("test") == runs[1].metrics("test")
