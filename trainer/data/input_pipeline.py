"""tf.data pipelines from prepared shards to batches.

number of a batch -> [shard, record] of its examples -> {"image": [b, h, w, c] as
stored, "record_id": [b] int64, and other requested features}

Batches hold images as records store them, with one, two or four bytes per value.
`scaled` converts them to [-1, 1] on the device that uses them.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline import contract
from trainer.data import shuffling, small_features, splits
from trainer.data.record_reader import RecordReader
from trainer.data.small_features import SmallFeatures

Batch = dict[str, tf.Tensor]
Check = Callable[[Mapping[str, np.ndarray]], None]

# Batches in preparation: one is read, another is handed on, a third waits for a file.
_PARALLEL_READS = 3


def scaled(stored: tf.Tensor) -> tf.Tensor:
    """Returns images as float32 in [-1, 1], from any stored type.

    Args:
        stored: `[batch, height, width, channels]`, with a type of
            `contract.IMAGE_DTYPES`.

    Example:
        >>> [round(float(x), 4) for x in scaled(tf.constant([0, 51, 255], tf.uint8))]
        [-1.0, -0.6, 1.0]
    """
    scale, offset = contract.IMAGE_DTYPES[stored.dtype.name]
    if stored.dtype == tf.uint8 and not tf.config.list_logical_devices("GPU"):
        # The same result in one pass, by a kernel that exists only for CPUs.
        return tf.raw_ops.Dequantize(
            input=tf.bitcast(stored, tf.quint8),
            min_range=offset,
            max_range=scale * 255 + offset,
        )
    values = tf.cast(stored, tf.float32)
    return values if (scale, offset) == (1.0, 0.0) else values * scale + offset


def training_batches(
    manifest: contract.Manifest,
    dataset_dir: str | pathlib.Path,
    split: str,
    *,
    seed: int,
    global_batch_size: int,
    block_size: int,
    start_step: int,
    context: tf.distribute.InputContext,
    features: Sequence[str] = (),
    check: Check | None = None,
) -> tf.data.Dataset:
    """Returns this host's endless per-replica batches of a split.

    Replica r of the host takes elements r, r + R, r + 2R, … of the result, where R is
    the number of the host's replicas.

    Args:
        manifest: Manifest of the dataset.
        dataset_dir: Directory of the dataset's shards.
        split: Name of a split, or several names joined by a plus.
        seed: Seed of the run.
        global_batch_size: Examples per step over all replicas.
        block_size: Records that are permuted together; 0 for as many as possible.
        start_step: Number of steps that are already made. To skip the records of these
            steps, the host reads at most their lengths.
        context: Input context of the host, which gives its share of the batch.
        features: Names of integer features that batches hold besides arrays and
            `record_id`.
        check: Function that raises a `DatasetError` for features that the run cannot
            use.

    Raises:
        contract.DatasetError: If the split cannot be read.
    """
    records = _Records(manifest, dataset_dir, split, features, check)
    order = shuffling.make_order(
        records.num_examples,
        min(len(manifest.splits[name].shards) for name in split.split("+")),
        seed=seed,
        global_batch_size=global_batch_size,
        block_size=block_size,
    )
    share = _Share(global_batch_size, context)

    def places(number: int) -> np.ndarray:
        step, first = share.start(number)
        return order.places(start_step + step, first, first + share.batch_size)

    def batch(number: tf.Tensor) -> Batch:
        return records.batch(number, places, share.batch_size)

    return _batches(tf.data.Dataset.counter(), batch)


def evaluation_batches(
    manifest: contract.Manifest,
    dataset_dir: str | pathlib.Path,
    split: str,
    *,
    global_batch_size: int,
    context: tf.distribute.InputContext,
    features: Sequence[str] = (),
    check: Check | None = None,
) -> tf.data.Dataset:
    """Returns this host's per-replica batches of a whole split, in the order on disk.

    Padding records fill up the last global batch. Every batch has a float32 `weight`
    `[batch]`, 1 for an example and 0 for padding. The arguments are as in
    `training_batches`.

    Raises:
        contract.DatasetError: If the split cannot be read.
    """
    records = _Records(manifest, dataset_dir, split, features, check)
    total = sum(records.num_examples)
    share = _Share(global_batch_size, context)

    def places(number: int) -> np.ndarray:
        step, first = share.start(number)
        first += step * global_batch_size
        return shuffling.in_turn(records.num_examples, first, first + share.batch_size)

    def batch(number: tf.Tensor) -> Batch:
        step, first = share.start(number)
        first += step * global_batch_size
        numbers = first + tf.range(share.batch_size, dtype=tf.int64)
        return {
            **records.batch(number, places, share.batch_size),
            "weight": tf.cast(numbers < total, tf.float32),
        }

    num_steps = -(-total // global_batch_size)
    return _batches(tf.data.Dataset.range(num_steps * share.num_replicas), batch)


def examples(
    manifest: contract.Manifest,
    dataset_dir: str | pathlib.Path,
    split: str,
    batch_size: int,
) -> Iterator[Batch]:
    """Yields batches of a whole split, once, in the order on disk.

    The last batch may be short. Images are float32 in [-1, 1]; `key` is `[batch]`
    string.

    Raises:
        contract.DatasetError: If the split cannot be read.
    """
    records = _Records(manifest, dataset_dir, split)
    total = sum(records.num_examples)
    for first in range(0, total, batch_size):
        stop = min(first + batch_size, total)
        batch = records.read(shuffling.in_turn(records.num_examples, first, stop))
        # A dataset of latents has no images.
        if "image" in batch:
            batch["image"] = scaled(batch["image"])
        yield batch


def first_examples(
    manifest: contract.Manifest, dataset_dir: str | pathlib.Path, split: str, num: int
) -> Batch:
    """Returns the first `num` examples of a split, or all of them, as in `examples`."""
    return next(examples(manifest, dataset_dir, split, num))


@dataclasses.dataclass(frozen=True)
class _Share:
    """This host's share of the global batches.

    Attributes:
        global_batch_size: Examples per step over all replicas.
        context: Input context of the host.
    """

    global_batch_size: int
    context: tf.distribute.InputContext

    @property
    def batch_size(self) -> int:
        """Examples per replica."""
        return self.global_batch_size // self.context.num_replicas_in_sync

    @property
    def num_replicas(self) -> int:
        """Replicas of this host; each takes one batch in every step."""
        context = self.context
        return context.num_replicas_in_sync // context.num_input_pipelines

    def start(self, number: Any) -> tuple[Any, Any]:
        """Returns the step of this host's batch, and its start in the global batch.

        Args:
            number: Number of the batch, an integer or a tensor; the results have the
                same type.
        """
        step, local = number // self.num_replicas, number % self.num_replicas
        replica = self.context.input_pipeline_id * self.num_replicas + local
        return step, replica * self.batch_size


class _Records:
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


def _batches(
    numbers: tf.data.Dataset, make_batch: Callable[[tf.Tensor], Batch]
) -> tf.data.Dataset:
    return numbers.map(
        # AutoGraph would search the function for a while, and find nothing to convert.
        tf.autograph.experimental.do_not_convert(make_batch),
        num_parallel_calls=_PARALLEL_READS,
        deterministic=True,
    ).prefetch(tf.data.AUTOTUNE)
