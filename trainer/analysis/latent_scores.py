"""Scores of a split's latents: their use, linear probes, disentanglement."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging

from trainer.analysis.latents import disentanglement, factors, probe, usage
from trainer.analysis.posteriors import EncodedSplit
from trainer.optimization import losses

_MAX_PROBED = 20_000


def score_latents(encoded: EncodedSplit) -> dict[str, Any]:
    """Returns scores of how the model uses its latents.

    Returns:
        `active_units`, which counts latents that vary among examples, or None for a
        single example; `aggregate_kl` in nats; `kl_per_latent`, `[latent_dim]` nats.
    """
    mean, log_var = encoded.posterior_mean, encoded.posterior_log_var
    kl_per_latent = losses.gaussian_kl_per_latent(mean, log_var).numpy().mean(axis=0)
    if len(mean) < 2:
        logging.info(
            "active_units is not computed: it needs 2 examples, and the split has 1"
        )
    return {
        "active_units": usage.active_units(mean) if len(mean) > 1 else None,
        "aggregate_kl": usage.aggregate_kl(mean, log_var),
        "kl_per_latent": kl_per_latent.tolist(),
    }


def probed_features(encoded: EncodedSplit) -> list[str]:
    """Returns the features that linear probes can read: labels and attributes."""
    return [name for name in ("label", "attributes") if name in encoded.features]


def score_probes(
    train: EncodedSplit, test: EncodedSplit, attribute_names: Sequence[str]
) -> dict[str, Any]:
    """Returns how well a linear classifier reads labels and attributes from latents.

    Args:
        train: Examples to fit the classifiers on; only the first 20,000 are used.
        test: Examples to score the classifiers on.
        attribute_names: Names of the columns of `attributes`, if that feature exists.

    Returns:
        Accuracy, balanced accuracy and accuracy of the majority class, by feature.
        For attributes, the means of these scores, and the scores of each attribute by
        its name. Images without a label have a negative label, and do not count. The
        score of labels is None if nothing can be fitted or scored.
    """
    num = min(len(train.keys), _MAX_PROBED)
    scores: dict[str, Any] = {}
    for feature in probed_features(test):
        arguments = (
            train.posterior_mean[:num],
            train.features[feature][:num],
            test.posterior_mean,
            test.features[feature],
        )
        if feature == "label":
            scores[feature] = _score_label_probe(*arguments)
            continue
        scored = [
            dataclasses.asdict(each) for each in probe.probe_attributes(*arguments)
        ]
        means = {
            field.name: float(np.mean([each[field.name] for each in scored]))
            for field in dataclasses.fields(probe.ProbeScore)
        }
        scores[feature] = {**means, **dict(zip(attribute_names, scored, strict=True))}
    return scores


def _score_label_probe(
    train_latents: np.ndarray,
    train_labels: np.ndarray,
    test_latents: np.ndarray,
    test_labels: np.ndarray,
) -> dict[str, float] | None:
    """Returns the scores of a label probe; None without two classes or a test label."""
    has_label = train_labels >= 0
    is_tested = test_labels >= 0
    classes = np.unique(train_labels[has_label])
    if len(classes) < 2 or not is_tested.any():
        logging.info(
            "the label probe is not computed: it needs 2 classes in training and 1 "
            "labelled example in the split, and found %d and %d",
            len(classes),
            is_tested.sum(),
        )
        return None
    score = probe.probe_labels(
        train_latents[has_label],
        train_labels[has_label],
        test_latents[is_tested],
        test_labels[is_tested],
    )
    return dataclasses.asdict(score)


def score_factors(encoded: EncodedSplit, path: str) -> dict[str, Any]:
    """Returns how well single latents stand for the true factors of synthetic faces.

    Args:
        encoded: A split of a synthetic dataset.
        path: Path of the dataset's `factors.csv`.

    Returns:
        `mig`, `sap`, and the three scores of `dci`.

    Raises:
        ValueError: As `factors.load`.
    """
    latents = encoded.posterior_mean.astype(np.float64)
    varied = factors.load(path, encoded.keys.tolist())
    arguments = (latents, varied.values, varied.are_categorical)
    parts = disentanglement.dci(*arguments)
    return {
        "mig": disentanglement.mutual_information_gap(*arguments).score,
        "sap": disentanglement.separated_attribute_predictability(*arguments).score,
        "dci_disentanglement": parts.disentanglement,
        "dci_completeness": parts.completeness,
        "dci_informativeness": parts.informativeness,
    }
