"""Scores of a model on a whole split: likelihoods, image quality, classifier, PCA.

Each score is a mean over the examples of the split. Nats are per whole image. `elbo` is
at beta = 1 for every training objective.
"""

import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from trainer.analysis import image_metrics
from trainer.analysis.latents import pca
from trainer.data import splits
from trainer.models.likelihoods import Bernoulli, LogisticMixture
from trainer.models.vae import VAE, draw_posterior
from trainer.numerics import random
from trainer.numerics.streams import Stream
from trainer.optimization import losses
from trainer.runs.trained import TrainedRun

_BATCH_SIZE = 100
# Largest number of images decoded at once for the importance weights.
_MAX_DECODED = 5_000


def score_images(
    run: TrainedRun,
    split: str,
    num_importance_samples: int = 0,
    num_importance_examples: int | None = None,
) -> dict[str, float]:
    """Returns likelihood and image-quality scores, as means over a split.

    Args:
        run: Trained run with the model to score.
        split: Split of the run's dataset.
        num_importance_samples: Draws per example for the estimate of -log p(x); 0 for
            none. The estimated log p(x) is on average a lower bound, and approaches
            log p(x) with more draws.
        num_importance_examples: Number of leading examples of the split to estimate
            -log p(x) for; None for all.

    Returns:
        By name: `elbo`, `recon_nll`, `kl`; `nll_importance`, if requested;
        `bits_per_dim` of minus the ELBO, except for a Bernoulli likelihood;
        `mse_levels` (squared 0-255 levels), `psnr_db` and `ssim` of the decoded
        posterior mean. Images smaller than the window of SSIM have no `ssim`.

    Raises:
        contract.DatasetError: If the split cannot be read.
        ValueError: If a number is out of range.

    Source:
        Burda et al., "Importance Weighted Autoencoders", section 5 (the estimate).
    """
    if num_importance_samples < 0:
        raise ValueError(
            f"num_importance_samples={num_importance_samples} must not be negative"
        )
    if num_importance_examples is None:
        num_importance_examples = sys.maxsize
    if num_importance_examples < 1:
        raise ValueError(
            f"num_importance_examples={num_importance_examples} must be at least 1"
        )
    forward = tf.function(lambda *inputs: _forward(run.vae, *inputs), autograph=False)
    weights = tf.function(
        lambda *inputs: _log_weights(run.vae, *inputs),
        autograph=False,
        reduce_retracing=True,
    )
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for index, batch in enumerate(run.batches(split, _BATCH_SIZE)):
        images = batch["image"]
        inputs = (images, batch["input"], batch["conditions"])
        seed = random.fold(run.config.seed, Stream.SCORE_POSTERIOR, index)
        values = {name: x.numpy() for name, x in forward(*inputs, seed).items()}
        reconstructions = values.pop("reconstruction")
        values["mse_levels"] = image_metrics.mean_squared_error_levels(
            images, reconstructions
        )
        values["psnr_db"] = image_metrics.psnr_db(images, reconstructions)
        if min(images.shape[1:3]) >= image_metrics.SSIM_WINDOW_SIDE:
            values["ssim"] = image_metrics.ssim(images, reconstructions)
        num_left = num_importance_examples - counts.get("elbo", 0)
        if num_importance_samples and num_left > 0:
            values["nll_importance"] = -_log_marginal(
                weights,
                tuple(array[:num_left] for array in inputs),
                num_importance_samples,
                (run.config.seed, index),
            )
        for name, per_example in values.items():
            total = float(np.sum(per_example, dtype=np.float64))
            sums[name] = sums.get(name, 0.0) + total
            counts[name] = counts.get(name, 0) + len(per_example)
    scores = {name: total / counts[name] for name, total in sums.items()}
    if not isinstance(run.vae.likelihood, Bernoulli):
        scores["bits_per_dim"] = float(
            image_metrics.bits_per_dim(
                np.float64(-scores["elbo"]),
                math.prod(run.manifest.image_shape),
                is_discrete=isinstance(run.vae.likelihood, LogisticMixture),
            )
        )
    return scores


def score_classifier(run: TrainedRun, split: str) -> float | None:
    """Returns the accuracy of the model's classifier on the labels of a split.

    Images without a label have a negative label, and do not count. The result is None
    if the split has no labels.

    Raises:
        contract.DatasetError: If the split cannot be read.
        ValueError: If the model has no classifier.
    """
    if run.vae.classifier is None:
        raise ValueError(
            "the run has no classifier: only `config.labelled_fraction` below 1 "
            "trains one"
        )
    classify = tf.function(run.vae.classify, autograph=False)
    num_right = num_labelled = 0
    for batch in run.batches(split, _BATCH_SIZE):
        predicted = classify(batch["input"]).numpy().argmax(axis=1)
        num_right += int(np.sum(predicted == batch["label"]))
        num_labelled += int(np.sum(batch["label"] >= 0))
    if not num_labelled:
        logging.info(
            "classifier_accuracy is not computed: split %s has no labels", split
        )
        return None
    return num_right / num_labelled


def score_pca(run: TrainedRun, split: str) -> dict[str, float]:
    """Returns the reconstruction error of a PCA with as many components as latents.

    Args:
        run: Trained run; the components are fitted on its training split.
        split: Split to reconstruct.

    Returns:
        `num_components`, and `mse_levels` (squared 0-255 levels).

    Raises:
        ValueError: If the training split has fewer images than the model has latents.
    """
    train_split, num_components = run.config.train_split, run.config.latent_dim
    num_images = splits.num_examples(run.manifest, train_split)
    if num_images < num_components:
        raise ValueError(
            f"`pca=True` needs at least {num_components} images, the number of "
            f"latents, but split {train_split!r} has {num_images}: leave the argument "
            "out"
        )
    fitted = pca.fit_pca(_images(run, train_split), num_components)
    error = pca.reconstruction_error(fitted, _images(run, split))
    return {
        "num_components": num_components,
        "mse_levels": error.per_value_levels,
    }


def _images(run: TrainedRun, split: str) -> Iterator[np.ndarray]:
    for batch in run.batches(split, _BATCH_SIZE):
        yield batch["image"]


def _forward(
    vae: VAE,
    images: tf.Tensor,
    inputs: tf.Tensor,
    conditions: tf.Tensor,
    seed: tf.Tensor,
) -> dict[str, tf.Tensor]:
    mean, log_var = vae.encode(inputs, conditions)
    noise = tf.random.stateless_normal(tf.shape(mean), seed, alg="philox")
    z = draw_posterior(mean, log_var, noise)
    log_likelihood = vae.likelihood.log_likelihood(images, vae.decode(z, conditions))
    kl = losses.gaussian_kl(mean, log_var)
    return {
        "elbo": log_likelihood - kl,
        "recon_nll": -log_likelihood,
        "kl": kl,
        "reconstruction": vae.mean_image(mean, conditions),
    }


def _log_weights(
    vae: VAE,
    images: tf.Tensor,
    inputs: tf.Tensor,
    conditions: tf.Tensor,
    words: tf.Tensor,
    num: tf.Tensor,
) -> tf.Tensor:
    """Returns log p(x, z) - log q(z|x) of `num` draws for each example, `[b, num]`.

    The draws are a function of `words`, `[3]` int32: the run's seed, the number of the
    batch, and the number of the first draw.
    """
    seed, *others = tf.unstack(words)
    seed = random.fold(seed, Stream.SCORE_IMPORTANCE, *others)
    mean, log_var = vae.encode(inputs, conditions)
    repeated = [tf.repeat(tensor, num, axis=0) for tensor in (mean, log_var)]
    noise = tf.random.stateless_normal(tf.shape(repeated[0]), seed, alg="philox")
    z = draw_posterior(*repeated, noise)
    log_likelihood = vae.likelihood.log_likelihood(
        tf.repeat(images, num, axis=0),
        vae.decode(z, tf.repeat(conditions, num, axis=0)),
    )
    log_weights = (
        log_likelihood
        + losses.normal_log_density(z, 0.0, 0.0)
        - losses.normal_log_density(z, *repeated)
    )
    return tf.reshape(log_weights, [-1, num])


def _log_marginal(
    log_weights: Any,
    inputs: tuple[np.ndarray, ...],
    num_samples: int,
    seed: tuple[int, int],
) -> np.ndarray:
    """Returns the estimate of log p(x), `[b]`, from draws in chunks."""
    chunk = max(1, _MAX_DECODED // len(inputs[0]))
    parts = [
        log_weights(
            *inputs,
            tf.constant([*seed, start]),
            tf.constant(min(chunk, num_samples - start)),
        ).numpy()
        for start in range(0, num_samples, chunk)
    ]
    return image_metrics.log_mean_exp(np.concatenate(parts, axis=1), axis=1)
