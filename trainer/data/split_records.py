"""Records of a split, in batches.

places [batch, 2] -> {"image": [b, h, w, c] as stored, "record_id": [b] int64, and other
features}
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from pipeline import contract
from trainer.data import small_features, splits
from trainer.data.record_reader import RecordReader
from trainer.data.small_features import SmallFeatures

Batch = dict[str, tf.Tensor]
Check = Callable[[Mapping[str, np.ndarray]], None]


class SplitRecords:
    """Records of a split.

    Attributes:
        num_examples: Number of examples in each shard.
    """

    def __init__(
        self,
        manifest: contract.Manifest,
        dataset_dir: str | pathlib.Path,
        split: str,
        features: Sequence[str] = (),
        check: Check | None = None,
    ) -> None:
        """Opens no file yet.

        Args:
            manifest: Manifest of the dataset.
            dataset_dir: Directory of the dataset's shards.
            split: Name of a split, or several names joined by a plus.
            features: Names of integer features that batches hold besides arrays and
                `record_id`.
            check: Function that raises a `DatasetError` for features that the run
                cannot use.

        Raises:
            contract.DatasetError: If the split cannot be read.
        """
        self._check = check
        shards = splits.shards_of(manifest, dataset_dir, split)
        self.num_examples = [shard.num_examples for shard in shards]
        self._starts = np.cumsum([0, *self.num_examples])
        paths = [str(pathlib.Path(dataset_dir) / shard.name) for shard in shards]
        self._features = manifest.features
        self._reader = RecordReader(paths, shards, manifest.features)
        self._small = SmallFeatures(
            {name: manifest.features[name] for name in features},
            sum(self.num_examples),
        )

    def read(self, places: np.ndarray) -> Batch:
        """Returns all features of the records at the places `[batch, 2]`.

        Returns:
            `image` `[batch, height, width, channels]`, or for a dataset of latents
            `posterior_mean` and `posterior_log_var`, `[batch, latent_dim]`; `key`
            `[batch]` string; the other features (attributes, landmarks, …)
            `[batch, ...]`, with their types in the manifest; and `record_id` `[batch]`
            int64, a hash of the key.
        """
        records = self._reader.read(places)
        others = {
            name: feature
            for name, feature in self._features.items()
            if name not in records.arrays
        }
        features = {**records.arrays, **small_features.parse(records, others)}
        return {name: tf.convert_to_tensor(value) for name, value in features.items()}

    def batch(
        self, number: tf.Tensor, places: Callable[[int], np.ndarray], batch_size: int
    ) -> Batch:
        """Returns arrays, `record_id` and the requested features, in a graph.

        Args:
            number: Number of the batch, a scalar int64.
            places: Function from the number of a batch to the places of its records,
                `[batch_size, 2]` int64.
            batch_size: Examples per batch.
        """
        features = {**self._reader.arrays, **self._small.features}

        def read(number: np.ndarray) -> list[np.ndarray]:
            records_at = places(int(number))
            records = self._reader.read(records_at)
            numbers = self._starts[records_at[:, 0]] + records_at[:, 1]
            small = self._small.of(records, numbers)
            if self._check is not None:
                self._check(small)
            values = {**records.arrays, **small}
            return [values[name] for name in features]

        dtypes = [tf.as_dtype(feature.dtype) for feature in features.values()]
        tensors = tf.numpy_function(read, [number], dtypes)
        for tensor, feature in zip(tensors, features.values(), strict=True):
            tensor.set_shape([batch_size, *feature.shape])
        return dict(zip(features, tensors, strict=True))
