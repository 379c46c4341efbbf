"""Conditions: the vector that a conditional VAE gets beside the image or the latents.

An unconditional one has a vector of length 0, so that both run through the same code.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from pipeline import contract


@dataclasses.dataclass(frozen=True)
class Conditioning:
    """Settings of a model's conditions, each named as in a run's config.

    Attributes:
        condition: `none`; `label`, a vector that is 1 at the class and 0 elsewhere
            (all zeros for a negative label; see `check_labels`); or `attributes`, a
            vector of -1 and 1.
        num_classes: Classes of a label.
        labelled_fraction: Fraction of the examples whose label is used, in (0, 1].
    """

    condition: str
    num_classes: int
    labelled_fraction: float

    @property
    def has_classifier(self) -> bool:
        """Whether a part of the labels is used, so that a classifier is learnt."""
        return self.labelled_fraction < 1

    @property
    def features(self) -> list[str]:
        """Names of the features that `vectors` reads besides images."""
        return [] if self.condition == "none" else [self.condition]

    def vector_length(self, manifest: contract.Manifest) -> int:
        """Returns the length of a condition vector.

        Raises:
            ValueError: If the dataset lacks the feature, or has more classes.
        """
        if self.condition == "none":
            return 0
        feature = manifest.features.get(self.condition)
        if feature is None:
            raise ValueError(
                f"--config.condition={self.condition} needs a dataset with the feature "
                f"{self.condition!r}, and this one has {', '.join(manifest.features)}"
            )
        if self.condition == "label":
            if self.num_classes < 1:
                raise ValueError(
                    f"--config.num_classes={self.num_classes} must be at least 1"
                )
            if self.num_classes < len(feature.names):
                raise ValueError(
                    f"--config.num_classes={self.num_classes}, and the labels of the "
                    f"dataset are of {len(feature.names)} classes: set it to that"
                )
            return self.num_classes
        return feature.shape[0]

    def check_labels(self, batch: Mapping[str, np.ndarray]) -> None:
        """Checks that the labels of a batch are classes of the model.

        Args:
            batch: With `label`, `[b]` integers, if it is the condition.

        Raises:
            contract.DatasetError: If a label is not.
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
            batch: With the feature that is the condition: `label`, `[b]` integers, or
                `attributes`, `[b, k]` of 0 and 1; without a condition, `image`.
        """
        if self.condition == "label":
            return tf.one_hot(batch["label"], self.num_classes)
        if self.condition == "attributes":
            return 2 * tf.cast(batch["attributes"], tf.float32) - 1
        return tf.zeros([tf.shape(batch["image"])[0], 0])

    def sample_vectors(self, num: int, examples: np.ndarray) -> np.ndarray:
        """Returns conditions for samples: every class in turn, or those of examples.

        Args:
            num: Number of samples.
            examples: `[n, num_conditions]`, repeated as often as needed.
        """
        if self.condition == "label":
            examples = np.eye(self.num_classes, dtype=np.float32)
        return examples[np.arange(num) % len(examples)]
