"""tf.data pipelines from prepared shards to batches.

number of a batch -> [shard, record] of its examples -> {"image": [b, h, w, c] as
stored, "record_id": [b] int64, and other requested features}

Batches hold images as records store them, with one, two or four bytes per value.
`scaled` converts them to [-1, 1] on the device that uses them.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline import contract
from pipeline.process import bars
from trainer.data import shuffling
from trainer.data.plain_records import PlainRecords
from trainer.data.split_records import Batch, Check, SplitRecords

# Readers of the training split, by their names in `config.reader`.
READERS = {"records": SplitRecords, "tf_data": PlainRecords}


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
    reader: str = "records",
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
        reader: Name in `READERS`; all readers return the same batches.

    Raises:
        contract.DatasetError: If the split cannot be read.
    """
    records = READERS[reader](manifest, dataset_dir, split, features, check)
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
    records = SplitRecords(manifest, dataset_dir, split, features, check)
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
    records = SplitRecords(manifest, dataset_dir, split)
    total = sum(records.num_examples)
    for first in bars.over(range(0, total, batch_size), f"split {split}", "batch"):
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


def _batches(
    numbers: tf.data.Dataset, make_batch: Callable[[tf.Tensor], Batch]
) -> tf.data.Dataset:
    return numbers.map(
        # AutoGraph would search the function for a while, and find nothing to convert.
        tf.autograph.experimental.do_not_convert(make_batch),
        num_parallel_calls=_PARALLEL_READS,
        deterministic=True,
    ).prefetch(tf.data.AUTOTUNE)
