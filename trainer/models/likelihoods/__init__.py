"""Likelihoods p(x given z): the meaning of the decoder's outputs.

base              the interface of a likelihood
bernoulli         black or white values
gaussian          values with normal noise
logistic_mixture  8-bit levels by a mixture of logistics

Images `[b, h, w, c]` are in [-1, 1]. A decoder gives outputs `[b, h, w, n]`, where n is
the likelihood's `num_outputs(c)`. The outputs of a pixel are sorted by kind: for
example all means, then all log deviations.
"""

import math

from ml_collections import ConfigDict

from trainer.models.likelihoods.base import Likelihood
from trainer.models.likelihoods.bernoulli import Bernoulli
from trainer.models.likelihoods.gaussian import (
    LOG_SCALE_LAYER,
    Gaussian,
    ScaledGaussian,
)
from trainer.models.likelihoods.logistic_mixture import LogisticMixture

__all__ = [
    "LOG_SCALE_LAYER",
    "Bernoulli",
    "Gaussian",
    "Likelihood",
    "LogisticMixture",
    "ScaledGaussian",
    "make_likelihood",
]


def make_likelihood(config: ConfigDict, num_values: int) -> Likelihood:
    """Returns the likelihood that `config` describes.

    Args:
        config: Settings.
        num_values: Number of values per image.
    """
    if config.likelihood == "bernoulli":
        return Bernoulli()
    if config.likelihood == "logistic_mixture":
        return LogisticMixture(config.num_mixtures)
    if config.likelihood_scale != "fixed":
        return ScaledGaussian(is_optimal=config.likelihood_scale == "optimal")
    if config.objective == "weighted_mse" and config.latent_weight:
        weight = config.latent_weight / config.pixel_weight
        return Gaussian(math.sqrt(weight * num_values / 2))
    return Gaussian(config.likelihood_stddev)
