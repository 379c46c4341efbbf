"""Scores of planted latents: their use, probes and factors."""

import logging
import pathlib

import numpy as np
import pytest

from trainer.analysis import latent_scores, posteriors
from trainer.analysis.latents import disentanglement, probe


def planted_split(num: int, seed: int) -> posteriors.EncodedSplit:
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(num, 4)).astype(np.float32)
    return posteriors.EncodedSplit(
        keys=np.array([f"{index:03d}.jpg" for index in range(num)]),
        posterior_mean=mean,
        posterior_log_var=np.zeros_like(mean),
        features={
            "label": (mean[:, 0] > 0).astype(np.int64),
            "attributes": (mean[:, 1:3] > [0, 1]).astype(np.int64),
        },
    )


def test_probes_read_what_is_planted() -> None:
    actual = latent_scores.score_probes(
        planted_split(500, 0), planted_split(300, 1), ("Smiling", "Young")
    )
    assert actual["label"]["accuracy"] > 0.95
    assert actual["label"]["majority_accuracy"] < 0.6
    attributes = actual["attributes"]
    assert attributes["Young"]["majority_accuracy"] > 0.75
    assert attributes["accuracy"] == pytest.approx(
        (attributes["Smiling"]["accuracy"] + attributes["Young"]["accuracy"]) / 2
    )


def test_factors_are_joined_by_their_key(tmp_path: pathlib.Path) -> None:
    split = planted_split(400, 0)
    path = tmp_path / "factors.csv"
    order = np.random.default_rng(1).permutation(400)
    colours = np.array(["red", "green", "blue"])
    rows = [
        f"{split.keys[i]},{split.posterior_mean[i, 2]},"
        f"{colours[int(np.digitize(split.posterior_mean[i, 0], [-0.5, 0.5]))]},7"
        for i in order
    ]
    path.write_text("image,pose,colour,constant\n" + "\n".join(rows) + "\n")
    actual = latent_scores.score_factors(split, str(path))
    assert actual["mig"] > 0.5
    assert actual["dci_disentanglement"] > 0.7
    assert actual["dci_informativeness"] > 0.9
    shuffled = "image,pose,colour,constant\n" + "\n".join(
        f"{split.keys[i]},{row.split(',', 1)[1]}" for i, row in enumerate(rows)
    )
    path.write_text(shuffled + "\n")
    assert latent_scores.score_factors(split, str(path))["mig"] < 0.1


def test_factors_of_other_faces_are_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "factors.csv"
    path.write_text("image,pose\n000.jpg,1\n")
    with pytest.raises(ValueError, match="has no row or column for '001.jpg'"):
        latent_scores.score_factors(planted_split(3, 0), str(path))
    path.write_text("pose\n1\n")
    with pytest.raises(ValueError, match="has no row or column for 'image'"):
        latent_scores.score_factors(planted_split(3, 0), str(path))
    with pytest.raises(ValueError, match="^factors=.* cannot be read"):
        latent_scores.score_factors(planted_split(3, 0), str(tmp_path / "none.csv"))


def encoded_split(labels: list[int]) -> posteriors.EncodedSplit:
    """Returns latents that equal their labels, plus small distinct offsets."""
    num = len(labels)
    mean = np.array(labels, np.float32)[:, None] + np.linspace(0, 0.1, num)[:, None]
    return posteriors.EncodedSplit(
        keys=np.array([str(number) for number in range(num)]),
        posterior_mean=mean.astype(np.float32),
        posterior_log_var=np.zeros([num, 1], np.float32),
        features={"label": np.array(labels)},
    )


def test_one_example_has_no_active_units() -> None:
    actual = latent_scores.score_latents(encoded_split([3]))
    assert actual["active_units"] is None
    # KL(N(3, 1), N(0, 1)) is 4.5 nats. A single posterior is its own aggregate.
    assert actual["kl_per_latent"] == [4.5]
    assert actual["aggregate_kl"] == pytest.approx(4.5, abs=0.1)
    assert latent_scores.score_latents(encoded_split([3, 4]))["active_units"] == 1


@pytest.mark.parametrize(
    ("train", "test", "accuracy"),
    [
        ([0, 0, 0], [0, 1], None),
        ([0], [0], None),
        ([-1, -1], [0, 1], None),
        ([0, 0, -1], [0, 1], None),
        ([0, 0, 1, 1], [-1, -1], None),
        ([0, 0, 1, 1], [-1, 0, 1, 0], 1.0),
        ([0, 0, 1, 1, -1], [1], 1.0),
        # A probe never predicts a class that training lacks.
        ([0, 0, 1, 1], [0, 1, 2, 2], 0.5),
    ],
)
def test_probes_of_few_labels(train, test, accuracy) -> None:
    actual = latent_scores.score_probes(encoded_split(train), encoded_split(test), ())[
        "label"
    ]
    assert (actual and actual["accuracy"]) == accuracy


def test_factors_that_do_not_vary_are_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "factors.csv").write_text("image,hue\n0,1.5\n1,2.5\n")
    with pytest.raises(
        ValueError, match="no factor varies in the split, which has 1 example: g"
    ):
        latent_scores.score_factors(encoded_split([0]), str(tmp_path / "factors.csv"))


def test_a_probe_is_fitted_on_the_first_20_000_examples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = []

    def probed(train_latents, train_labels, test_latents, test_labels):
        sizes.append([len(train_latents), len(train_labels), len(test_latents)])
        assert train_latents[-1] == train_latents.max()
        return probe.ProbeScore(0.5, 0.25, 0.125)

    monkeypatch.setattr(probe, "probe_labels", probed)
    for num in (19_999, 20_000, 20_001, 30_000):
        train = encoded_split([0, 1] * (num // 2) + [0] * (num % 2))
        train.posterior_mean[:, 0] = np.arange(num)
        actual = latent_scores.score_probes(train, train, ())
        assert actual["label"] == {
            "accuracy": 0.5,
            "balanced_accuracy": 0.25,
            "majority_accuracy": 0.125,
        }
    assert sizes == [
        [19_999, 19_999, 19_999],
        [20_000, 20_000, 20_000],
        [20_000, 20_000, 20_001],
        [20_000, 20_000, 30_000],
    ]


def test_what_is_not_computed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="absl"):
        latent_scores.score_latents(encoded_split([3, 4]))
        latent_scores.score_probes(encoded_split([0, 1, 1]), encoded_split([0, -1]), ())
    assert not caplog.messages
    with caplog.at_level(logging.INFO, logger="absl"):
        latent_scores.score_latents(encoded_split([3]))
        latent_scores.score_probes(
            encoded_split([0, 0, -1]), encoded_split([0, -1]), ()
        )
    assert [message.split(" is not computed")[0] for message in caplog.messages] == [
        "active_units",
        "the label probe",
    ]
    assert caplog.messages[1].endswith("and found 1 and 1")


def test_factors_have_five_scores(tmp_path: pathlib.Path) -> None:
    split = planted_split(100, 0)
    values = split.posterior_mean[:, 1:3] + 0.3 * split.posterior_mean[:, :2]
    path = tmp_path / "factors.csv"
    pairs = zip(split.keys, values.tolist(), strict=True)
    rows = [f"{key},{pose},{hue}" for key, (pose, hue) in pairs]
    path.write_text("\n".join(["image,pose,hue", *rows]))
    arguments = (
        split.posterior_mean.astype(np.float64),
        values.astype(np.float64),
        np.array([False, False]),
    )
    parts = disentanglement.dci(*arguments)
    assert latent_scores.score_factors(split, str(path)) == {
        "mig": disentanglement.mutual_information_gap(*arguments).score,
        "sap": disentanglement.separated_attribute_predictability(*arguments).score,
        "dci_disentanglement": parts.disentanglement,
        "dci_completeness": parts.completeness,
        "dci_informativeness": parts.informativeness,
    }


def test_the_divergence_is_averaged_over_the_examples() -> None:
    split = planted_split(3, 0)
    split.posterior_log_var[:] = np.log([1.0, 2.0, 3.0, 0.5])
    variance = np.exp(split.posterior_log_var)
    expected = (variance + split.posterior_mean**2 - 1 - np.log(variance)) / 2
    actual = latent_scores.score_latents(split)["kl_per_latent"]
    np.testing.assert_allclose(actual, expected.mean(axis=0), rtol=1e-5)


def test_each_attribute_has_a_name() -> None:
    train, test = planted_split(50, 0), planted_split(30, 1)
    with pytest.raises(ValueError, match="zip"):
        latent_scores.score_probes(train, test, ("Smiling",))
