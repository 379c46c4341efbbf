"""Validation over a whole split."""

import dataclasses

import numpy as np
import tensorflow as tf

from pipeline import contract
from trainer.analysis.latents import usage
from trainer.data import input_pipeline, splits
from trainer.distribution import strategies
from trainer.models.conditions import Conditioning
from trainer.training.steps import Steps


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation: means over the examples of the split.

    Attributes:
        scalars: Mean of each term by name. With two or more examples also
            `active_units`, the number of latents whose means vary among the examples.
        kl_per_latent: `[latent_dim]` float64, KL divergence in nats.
    """

    scalars: dict[str, float]
    kl_per_latent: np.ndarray


class Evaluator:
    """Computes means of all terms over a split; equal models give equal means."""

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        steps: Steps,
        manifest: contract.Manifest,
        dataset_dir: str,
        split: str,
        *,
        global_batch_size: int,
        conditioning: Conditioning,
    ) -> None:
        """Opens the split.

        Args:
            strategy: Strategy from `strategies.make_strategy`.
            steps: Compiled steps, which evaluate a batch.
            manifest: Manifest of the dataset.
            dataset_dir: Directory of the dataset.
            split: Name of the split.
            global_batch_size: Number of examples in a batch of all replicas.
            conditioning: Conditions of the model.

        Raises:
            DatasetError: If the split is empty, or a shard is missing or truncated.
        """
        self._steps = steps
        self._batches = strategies.iterate(
            strategy,
            lambda context: input_pipeline.evaluation_batches(
                manifest,
                dataset_dir,
                split,
                global_batch_size=global_batch_size,
                context=context,
                features=conditioning.features,
                check=conditioning.check_labels,
            ).repeat(),
        )
        self._num_examples = splits.num_examples(manifest, split)
        self._num_batches = -(-self._num_examples // global_batch_size)

    def evaluate(self) -> Evaluation:
        """Returns the result of one pass over the split."""
        sums = [
            self._steps.evaluate_batch(
                next(self._batches), tf.constant(index, tf.int64)
            )
            for index in range(self._num_batches)
        ]
        terms, latents = (
            (tf.add_n(parts) / self._num_examples).numpy()
            for parts in zip(*sums, strict=True)
        )
        scalars = dict(zip(self._steps.term_names, terms.tolist(), strict=True))
        kl, mean, mean_square = latents
        if self._num_examples > 1:
            scalars["active_units"] = usage.num_active(mean_square - mean**2)
        return Evaluation(scalars, kl)
