"""What a conditional VAE is told besides the image or the latents.

An unconditional one has a vector of length 0, so that both run through the same code.
"""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from pipeline import contract
from trainer.models import semi_supervised


def num_conditions(config: ConfigDict, manifest: contract.Manifest) -> int:
    """Returns the length of the condition vector.

    Raises:
        ValueError: If the dataset lacks the feature, or has more classes.
    """
    if config.condition == "none":
        return 0
    feature = manifest.features.get(config.condition)
    if feature is None:
        raise ValueError(
            f"--config.condition={config.condition} needs a dataset with the feature "
            f"{config.condition!r}, and this one has {', '.join(manifest.features)}"
        )
    if config.condition == "label":
        if config.num_classes < 1:
            raise ValueError(
                f"--config.num_classes={config.num_classes} must be at least 1"
            )
        if config.num_classes < len(feature.names):
            raise ValueError(
                f"--config.num_classes={config.num_classes}, and the labels of the "
                f"dataset are of {len(feature.names)} classes: set it to that"
            )
        return config.num_classes
    return feature.shape[0]


def features(config: ConfigDict) -> list[str]:
    """Returns the features of records that `of_batch` needs besides images."""
    return [] if config.condition == "none" else [config.condition]


def check_labels(batch: Mapping[str, np.ndarray], config: ConfigDict) -> None:
    """Checks that the labels of some examples are classes of the model.

    Args:
        batch: With `label`, `[b]` integers, if it is the condition.
        config: `condition`, `num_classes`, `labelled_fraction`.

    Raises:
        contract.DatasetError: If one is not.
    """
    if config.condition == "label":
        contract.check_labels(
            int(batch["label"].min()),
            int(batch["label"].max()),
            config.num_classes,
            are_all_known=not semi_supervised.is_used(config),
        )


def of_batch(batch: Mapping[str, tf.Tensor], config: ConfigDict) -> tf.Tensor:
    """Returns the condition vector of each example.

    Args:
        batch: With `image`, and the feature that is the condition.
        config: `condition`: a `label` is one of `num_classes` in a vector of zeros (one
            that is negative is all zeros; see `check_labels`); `attributes` are -1 or
            1.

    Returns:
        `[batch, num_conditions]` float32.
    """
    if config.condition == "label":
        return tf.one_hot(batch["label"], config.num_classes)
    if config.condition == "attributes":
        return 2 * tf.cast(batch["attributes"], tf.float32) - 1
    return tf.zeros([tf.shape(batch["image"])[0], 0])


def of_samples(config: ConfigDict, num: int, examples: np.ndarray) -> np.ndarray:
    """Returns conditions for samples: every class in turn, or those of examples.

    Args:
        config: `condition`.
        num: Of the samples.
        examples: `[n, num_conditions]`, repeated as often as needed.
    """
    if config.condition == "label":
        examples = np.eye(config.num_classes, dtype=np.float32)
    return examples[np.arange(num) % len(examples)]
