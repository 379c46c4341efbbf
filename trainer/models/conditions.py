"""Conditions: the vector that a conditional VAE reads beside the image or the latents.

An unconditional VAE reads a vector of length 0, so both kinds share the same code.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from pipeline import contract


@dataclasses.dataclass(frozen=True)
class Conditioning:
    """Settings of a model's conditions, named as in a run's config.

    Attributes:
        condition: Kind of conditions. `none`; `label`, a one-hot vector of the class
            (all zeros for a negative label; see `check_labels`); or `attributes`, a
            vector of -1 and 1.
        num_classes: Number of classes of a label.
        labelled_fraction: Fraction of examples whose label is used, in (0, 1].
    """

    condition: str
    num_classes: int
    labelled_fraction: float

    @property
    def has_classifier(self) -> bool:
        """True if the run uses only some labels and trains a classifier."""
        return self.labelled_fraction < 1

    @property
    def features(self) -> list[str]:
        """Names of the features that `vectors` reads, besides images."""
        return [] if self.condition == "none" else [self.condition]

    def vector_length(self, manifest: contract.Manifest) -> int:
        """Returns the length of a condition vector.

        Raises:
            ValueError: If the dataset lacks the feature, or has more classes than
                `num_classes`.
        """
        if self.condition == "none":
            return 0
        feature = manifest.features.get(self.condition)
        if feature is None:
            raise ValueError(
                f"config.condition={self.condition} needs a dataset with the "
                f"feature {self.condition!r}, but this dataset has "
                f"{', '.join(manifest.features)}"
            )
        if self.condition == "label":
            if self.num_classes < 1:
                raise ValueError(
                    f"config.num_classes={self.num_classes} must be at least 1"
                )
            if self.num_classes < len(feature.names):
                raise ValueError(
                    f"config.num_classes={self.num_classes} must be at least "
                    f"{len(feature.names)}, the number of classes of the dataset"
                )
            return self.num_classes
        return feature.shape[0]

    def check_labels(self, batch: Mapping[str, np.ndarray]) -> None:
        """Checks that the labels of a batch are classes of the model.

        In a run with a classifier, a negative label marks an example without a class.

        Args:
            batch: Features by name; `label`, `[b]` integers, if it is the condition.

        Raises:
            contract.DatasetError: If a label is not allowed.
        """
        if self.condition == "label":
            contract.check_labels(
                int(batch["label"].min()),
                int(batch["label"].max()),
                self.num_classes,
                are_all_known=not self.has_classifier,
            )

    def vectors(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns the condition vector of each example, `[b, num_conditions]` float32.

        Args:
            batch: Features by name. The condition's feature must be present: `label`,
                `[b]` integers, or `attributes`, `[b, k]` of 0 and 1. Without a
                condition, `image` must be present.
        """
        if self.condition == "label":
            return tf.one_hot(batch["label"], self.num_classes)
        if self.condition == "attributes":
            return 2 * tf.cast(batch["attributes"], tf.float32) - 1
        return tf.zeros([tf.shape(batch["image"])[0], 0])

    def sample_vectors(self, num: int, examples: np.ndarray) -> np.ndarray:
        """Returns conditions for samples: each class in turn, or examples' conditions.

        Args:
            num: Number of samples.
            examples: `[n, num_conditions]`, conditions of examples, repeated as often
                as needed. Not used if the condition is `label`.
        """
        if self.condition == "label":
            examples = np.eye(self.num_classes, dtype=np.float32)
        return examples[np.arange(num) % len(examples)]
