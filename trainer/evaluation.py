"""Validation over a whole split."""

import tensorflow as tf
from ml_collections import ConfigDict

from pipeline import contract
from trainer import distribution, input_pipeline
from trainer.steps import Steps


class Evaluator:
    """Means of all terms over a split, the same whenever the weights are."""

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        steps: Steps,
        manifest: contract.Manifest,
        dataset_dir: str,
        config: ConfigDict,
        split: str,
    ) -> None:
        """Opens the split.

        Raises:
            DatasetError: If the split is empty, or a shard is missing or cut.
        """
        self._steps = steps
        self._batches = distribution.iterate(
            strategy,
            lambda context: input_pipeline.evaluation_batches(
                manifest,
                dataset_dir,
                split,
                global_batch_size=config.global_batch_size,
                context=context,
            ).repeat(),
        )
        self._num_examples = input_pipeline.num_examples(manifest, split)
        self._num_batches = -(-self._num_examples // config.global_batch_size)

    def evaluate(self) -> dict[str, float]:
        """Returns each term's mean over the examples of the split, by name."""
        sums = tf.add_n(
            [
                self._steps.evaluate_batch(
                    next(self._batches), tf.constant(index, tf.int64)
                )
                for index in range(self._num_batches)
            ]
        )
        means = (sums / self._num_examples).numpy().tolist()
        return dict(zip(self._steps.term_names, means, strict=True))
