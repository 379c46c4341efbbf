"""Learning a class from few labels: the M2 model.

A conditional VAE computes the terms of an image for every possible class. A labelled
image counts the terms of its own class; any other image averages the terms over all
classes, weighted by the classifier q(y|x).

b  images        k  classes

Source:
    Kingma et al., "Semi-supervised Learning with Deep Generative Models" (2014),
    section 3.1.
"""

import math
from collections.abc import Mapping

import tensorflow as tf

from trainer.numerics import exact

# Terms that `marginalise` adds to the terms of an objective.
TERMS = ("label_kl", "classifier_loss", "accuracy")

# `is_labelled` compares integers: it rounds the fraction to a multiple of 1 / 2^20.
_RESOLUTION = 2**20


def is_labelled(
    batch: Mapping[str, tf.Tensor], labelled_fraction: float, num_classes: int
) -> tf.Tensor:
    """Returns whether each example counts as labelled, `[b]` bool.

    The choice depends only on the examples' keys and labels, so every run chooses the
    same examples.

    Args:
        batch: Features by name: `record_id`, int64 hashes of the examples' keys, and
            `label`. A label that is not a class, such as -1, does not count.
        labelled_fraction: Fraction of the examples to choose, in (0, 1].
        num_classes: Number of classes, k.
    """
    threshold = round(labelled_fraction * _RESOLUTION)
    label = batch["label"]
    return (
        (tf.math.floormod(batch["record_id"], _RESOLUTION) < threshold)
        & (label >= 0)
        & (label < num_classes)
    )


def with_every_class(images: tf.Tensor, num_classes: int) -> tuple[tf.Tensor, ...]:
    """Returns every pair of image and class, `[b * k, ...]` and one-hot `[b * k, k]`.

    Example:
        >>> images, classes = with_every_class(tf.constant([5, 7]), 2)
        >>> images.numpy().tolist()
        [5, 5, 7, 7]
        >>> classes.numpy().tolist()
        [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    classes = tf.tile(tf.eye(num_classes), [tf.shape(images)[0], 1])
    return tf.repeat(images, num_classes, axis=0), classes


def of_label(x: tf.Tensor, label: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Returns the values of each image with its own label, `[b, d]`; 0 without a label.

    Args:
        x: `[b * k, d]`, values of every pair of image and class.
        label: `[b]` integers.
        num_classes: Number of classes, k.

    Example:
        >>> x = tf.constant([[1.0], [2.0], [3.0], [4.0]])
        >>> of_label(x, tf.constant([1, 0]), 2).numpy().tolist()
        [[2.0], [3.0]]
    """
    known = tf.one_hot(label, num_classes)[:, :, tf.newaxis]
    return tf.reduce_sum(known * tf.reshape(x, [-1, num_classes, x.shape[1]]), axis=1)


def marginalise(
    terms: Mapping[str, tf.Tensor],
    logits: tf.Tensor,
    label: tf.Tensor,
    labelled: tf.Tensor,
    label_cost: float,
) -> dict[str, tf.Tensor]:
    """Returns the terms of labelled and unlabelled images.

    For a labelled image, q(y|x) puts all its weight on the label. Every term is its
    mean over q(y|x). `loss` adds KL(q(y|x) || p(y)) for a uniform p(y), and `elbo`
    subtracts it.

    Args:
        terms: `[b * k]`, terms of every pair of image and class; see
            `Objective.terms`.
        logits: `[b, k]`, outputs of the classifier.
        label: `[b]` integers. For an unlabelled image, only `accuracy` reads it.
        labelled: `[b]` bool, True for a labelled image.
        label_cost: Weight of the classifier's cross-entropy for a labelled image.

    Returns:
        The terms, `[b]` each, and three more: `label_kl` in nats; `classifier_loss`,
        already weighted; and `accuracy`, 1 where the classifier is right, also for
        unlabelled images.
    """
    num_classes = logits.shape[1]
    log_probabilities = exact.by_group(tf.nn.log_softmax, logits)
    # The log probabilities have three uses: q, its entropy and the classifier's loss.
    log_q = exact.branch(log_probabilities)
    known = tf.one_hot(label, num_classes)
    q = tf.where(labelled[:, tf.newaxis], known, tf.exp(log_q))
    negative_entropy = tf.where(labelled, 0.0, tf.reduce_sum(q * log_q, axis=1))
    label_kl = math.log(num_classes) + negative_entropy
    cross_entropy = -tf.reduce_sum(known * log_probabilities, axis=1)
    classifier_loss = label_cost * tf.where(labelled, cross_entropy, 0.0)
    means = {
        name: tf.reduce_sum(q * tf.reshape(term, [-1, num_classes]), axis=1)
        for name, term in terms.items()
    }
    is_right = tf.equal(tf.argmax(logits, axis=1), tf.cast(label, tf.int64))
    return {
        **means,
        "loss": means["loss"] + label_kl + classifier_loss,
        "elbo": means["elbo"] - label_kl,
        "label_kl": label_kl,
        "classifier_loss": classifier_loss,
        "accuracy": tf.cast(is_right, tf.float32),
    }
