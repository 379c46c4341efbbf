"""Records by TensorFlow's own reader: `config.reader=tf_data`.

TFRecord files -> serialized examples [records], all in memory
numbers of records [batch] -> their examples -> parsed features [batch, ...]

The batches are the same as with `record_reader`. This reader is short and uses nothing
but TensorFlow, so it suits experiments with the input. It reads the whole split at the
start, and keeps it in memory.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from pipeline import contract
from trainer.data import splits
from trainer.data.shard_files import DamageError
from trainer.data.split_records import Batch, Check


class PlainRecords:
    """Serialized records of a split.

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
        """Reads all records; the arguments are as in `SplitRecords`.

        Raises:
            contract.DatasetError: If the split cannot be read.
        """
        shards = splits.shards_of(manifest, dataset_dir, split)
        self.num_examples = [shard.num_examples for shard in shards]
        self._starts = np.cumsum([0, *self.num_examples])
        paths = [str(pathlib.Path(dataset_dir) / shard.name) for shard in shards]
        names = {"key", *features, *contract.RAW_FEATURES} & manifest.features.keys()
        self._features = {name: manifest.features[name] for name in sorted(names)}
        with tf.device("CPU:0"):
            files = tf.data.TFRecordDataset(paths).batch(self._starts[-1])
            try:
                [self._serialized] = files
                if check is not None and features:
                    small = {name: manifest.features[name] for name in features}
                    parsed = parse(self._serialized, small)
                    check({name: values.numpy() for name, values in parsed.items()})
            except tf.errors.OpError as error:
                # TensorFlow does not name the file.
                raise DamageError(
                    f"a shard of the split {split!r} in {dataset_dir} is damaged: run "
                    "pipeline.verify, which names it"
                ) from error

    def batch(
        self, number: tf.Tensor, places: Callable[[int], np.ndarray], batch_size: int
    ) -> Batch:
        """Returns the features of a batch; see `SplitRecords.batch`."""

        def numbers_of(number: np.ndarray) -> np.ndarray:
            shards, records = places(int(number)).T
            return self._starts[shards] + records

        numbers = tf.numpy_function(numbers_of, [number], tf.int64)
        serialized = tf.gather(self._serialized, numbers)
        batch = parse(tf.ensure_shape(serialized, [batch_size]), self._features)
        record_id = tf.bitcast(tf.fingerprint(batch.pop("key")), tf.int64)
        return {**batch, "record_id": record_id}


def parse(serialized: tf.Tensor, features: Mapping[str, contract.Feature]) -> Batch:
    """Returns features of serialized examples `[batch]`."""
    arrays = {
        name: features[name] for name in contract.RAW_FEATURES if name in features
    }
    specs = {
        name: tf.io.FixedLenFeature(each.shape, tf.as_dtype(each.dtype))
        for name, each in features.items()
    }
    specs |= dict.fromkeys(arrays, tf.io.FixedLenFeature([], tf.string))
    batch = tf.io.parse_example(serialized, specs)
    for name, each in arrays.items():
        values = tf.io.decode_raw(batch[name], tf.as_dtype(each.dtype))
        batch[name] = tf.reshape(values, [*serialized.shape, *each.shape])
    return batch
