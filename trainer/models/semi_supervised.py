"""Learning a class from few labels: the M2 model.

A conditional VAE gives the terms of an image for every class it might be of. The known
class counts where there is one, and the classifier q(y|x) weighs them where not.

b  images        k  classes

Source:
    Kingma et al., "Semi-supervised Learning with Deep Generative Models" (2014),
    section 3.1.
"""

import math
from collections.abc import Mapping

import tensorflow as tf

from trainer.numerics import exact

# What `marginalise` adds to an objective's terms.
TERMS = ("label_kl", "classifier_loss", "accuracy")

# A share of this many is exact in the integers of `is_labelled`.
_RESOLUTION = 2**20


def is_labelled(
    batch: Mapping[str, tf.Tensor], labelled_fraction: float, num_classes: int
) -> tf.Tensor:
    """Returns which examples count as labelled, `[b]` bool, the same in every run.

    Args:
        batch: With `record_id`, int64 hashes of the examples' keys, and `label`; a
            label that is not a class, such as -1, does not count.
        labelled_fraction: Fraction of the examples to choose, in (0, 1].
        num_classes: k.
    """
    threshold = round(labelled_fraction * _RESOLUTION)
    label = batch["label"]
    return (
        (tf.math.floormod(batch["record_id"], _RESOLUTION) < threshold)
        & (label >= 0)
        & (label < num_classes)
    )


def with_every_class(images: tf.Tensor, num_classes: int) -> tuple[tf.Tensor, ...]:
    """Returns each image once with each class, `[b * k, ...]` and `[b * k, k]`.

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
    """Returns what an image has with its own label, `[b, d]`; 0 without one.

    Args:
        x: `[b * k, d]`, of each image with each class.
        label: `[b]` integers.
        num_classes: k.

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
    """Returns the terms of images whose class is known or is not.

    With q(y|x) all on the label of a labelled image, every term is its mean over
    q(y|x), and `loss` and `elbo` also pay KL(q(y|x) || p(y)) for a uniform p(y).

    Args:
        terms: Of each image with each class, `[b * k]`; see `Objective.terms`.
        logits: Of the classifier, `[b, k]`.
        label: `[b]` integers; of one that is not labelled it is read for `accuracy`
            alone.
        labelled: `[b]` bool.
        label_cost: Weight of the classifier's cross-entropy for a labelled image.

    Returns:
        The terms, `[b]` each; and `label_kl` in nats; `classifier_loss`, as weighted;
        `accuracy`, 1 where the classifier is right, of all images.
    """
    num_classes = logits.shape[1]
    log_probabilities = exact.by_group(tf.nn.log_softmax, logits)
    # Two uses by an image without a label, and a third by the classifier's loss.
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
