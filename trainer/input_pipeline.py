"""tf.data pipelines from prepared shards to batches.

shard files -> [serialized record] -> lanes -> [per-replica batch of records]
            -> {"image": [b, h, w, c] as stored, "record_id": [b] int64}

Batches have their images as records do, of one, two or four bytes a value: they are
brought to [-1, 1] by `scaled`, on the device that they are for.
"""

import math
import pathlib
import re

import numpy as np
import tensorflow as tf

from pipeline import contract
from trainer import order

Batch = dict[str, tf.Tensor]

# What TensorFlow says of a file that is not what it was, and of a record that is not
# what `parse_records` expects.
_DAMAGES = (
    r"corrupted record at \d+",
    r"truncated record at \d+",
    r"\S+\.tfrecord-\S+; (No such file|Input/output error|Stale file handle)",
    r"expected to contain \d+ elements but contained[^.\n]*",
    r"Could not parse example input",
    r"Can't parse serialized Example",
    r"Feature: \w+ \(data type: \w+\) is required but could not be found",
    r"Data types don't match",
    r"DecodeRaw requires [^\[\n]*\d",
    r"Input to DecodeRaw has length \d+",
    r"\[[\d,]+\] is not compatible with expected shape",
)


def parse_records(serialized: tf.Tensor, manifest: contract.Manifest) -> Batch:
    """Parses a batch of serialized records.

    Args:
        serialized: `[batch]` string.
        manifest: Of the dataset that the records come from.

    Returns:
        `image` `[batch, height, width, channels]`, or of a dataset of latents
        `posterior_mean` and `posterior_log_var`, `[batch, latent_dim]`; `key` `[batch]`
        string; and the other features (attributes, landmarks, …) `[batch, ...]`, all of
        their type in the manifest; and `record_id` `[batch]` int64, a hash of the key.
    """
    spec = {
        name: tf.io.FixedLenFeature([], tf.string)
        if name in contract.RAW_FEATURES
        else tf.io.FixedLenFeature(feature.shape, tf.as_dtype(feature.dtype))
        for name, feature in manifest.features.items()
    }
    batch = tf.io.parse_example(serialized, spec)
    arrays = {
        name: _decode(batch.pop(name), feature)
        for name, feature in manifest.features.items()
        if name in contract.RAW_FEATURES
    }
    record_id = tf.bitcast(tf.fingerprint(batch["key"]), tf.int64)
    return {**arrays, "record_id": record_id, **batch}


def _decode(raw: tf.Tensor, feature: contract.Feature) -> tf.Tensor:
    """Returns `[batch, *feature.shape]` of the bytes that records hold."""
    stored = tf.io.decode_raw(raw, tf.as_dtype(feature.dtype))
    # Twice the values would be taken for two examples.
    stored = tf.ensure_shape(stored, [None, math.prod(feature.shape)])
    return tf.reshape(stored, [-1, *feature.shape])


def scaled(stored: tf.Tensor) -> tf.Tensor:
    """Returns images as float32 in [-1, 1], whatever type they are stored as.

    Args:
        stored: `[batch, height, width, channels]`, of one of `contract.IMAGE_DTYPES`.

    Example:
        >>> [round(float(x), 4) for x in scaled(tf.constant([0, 51, 255], tf.uint8))]
        [-1.0, -0.6, 1.0]
    """
    scale, offset = contract.IMAGE_DTYPES[stored.dtype.name]
    values = tf.cast(stored, tf.float32)
    return values if (scale, offset) == (1.0, 0.0) else values * scale + offset


def shard_paths(
    manifest: contract.Manifest, dataset_dir: str | pathlib.Path, split: str
) -> list[tuple[str, int]]:
    """Returns path and number of examples of every shard that has any.

    Args:
        manifest: Of the dataset.
        dataset_dir: Where its shards are.
        split: Name of a split, or of several, joined by a plus.

    Raises:
        contract.DatasetError: If a shard is missing or has another size, or if a
            split is unknown or empty.
    """
    shards = []
    for name in split.split("+"):
        contract.check_shard_sizes(manifest, dataset_dir, name)
        found = [
            (str(pathlib.Path(dataset_dir) / shard.name), shard.num_examples)
            for shard in manifest.splits[name].shards
            if shard.num_examples
        ]
        if not found:
            raise contract.DatasetError(f"split {name!r} of {dataset_dir} is empty")
        shards += found
    return shards


def num_examples(manifest: contract.Manifest, split: str) -> int:
    """Returns the examples of a split, or of several that are joined by a plus."""
    return sum(manifest.splits[name].num_examples for name in split.split("+"))


def num_lanes(
    manifest: contract.Manifest, split: str, global_batch_size: int, num_hosts: int
) -> int:
    """Returns how many lanes the shards of a split are dealt to.

    Args:
        manifest: Of the dataset.
        split: Name of a split, or of several, joined by a plus.
        global_batch_size: Examples per step over all replicas.
        num_hosts: Who share the lanes.

    Raises:
        ValueError: If the hosts cannot share them equally.
    """
    # As many as divide the shards of every split, so that each lane gets its share.
    counts = [len(manifest.splits[name].shards) for name in split.split("+")]
    lanes = order.num_lanes(global_batch_size, min(counts))
    if lanes % num_hosts:
        raise ValueError(
            f"{lanes} lanes (from {sum(counts)} shards and --config.global_batch_size="
            f"{global_batch_size}) cannot be shared by {num_hosts} "
            "hosts: prepare with a smaller --shard_size, or use a number of hosts "
            "and a batch size that are powers of two"
        )
    return lanes


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
) -> tf.data.Dataset:
    """Returns this host's endless per-replica batches of a split.

    Replica r of the host takes elements r, r + R, r + 2R, … of the result.

    Args:
        manifest: Of the dataset.
        dataset_dir: Where its shards are.
        split: Name of a split, or of several, joined by a plus.
        seed: Of the run.
        global_batch_size: Examples per step over all replicas.
        block_size: Records that are permuted together.
        start_step: Steps that are already made; nothing before it is read but the
            block in which each lane stands.
        context: Which share of the lanes and of the batch is this host's.

    Raises:
        contract.DatasetError: If the split cannot be read.
        ValueError: If the hosts cannot share the lanes equally.
    """
    shards = shard_paths(manifest, dataset_dir, split)
    lanes = num_lanes(manifest, split, global_batch_size, context.num_input_pipelines)
    share = lanes // context.num_input_pipelines
    first_lane = context.input_pipeline_id * share
    records_per_lane = global_batch_size // lanes
    lane_records = _Lanes(
        [shards[lane::lanes] for lane in range(lanes)],
        seed,
        block_size,
        start_step * records_per_lane,
    )
    return (
        tf.data.Dataset.range(first_lane, first_lane + share)
        .interleave(
            lane_records,
            cycle_length=share,
            block_length=records_per_lane,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .batch(global_batch_size // context.num_replicas_in_sync, drop_remainder=True)
        .map(
            lambda records: _without_keys(parse_records(records, manifest)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .prefetch(tf.data.AUTOTUNE)
    )


class _Lanes:
    """Maps a lane to its endless records, from where it stands."""

    def __init__(
        self,
        lanes: list[list[tuple[str, int]]],
        seed: int,
        block_size: int,
        num_consumed: int,
    ) -> None:
        self._seed = seed
        self._block_size = block_size
        self._paths = tf.ragged.constant([[path for path, _ in lane] for lane in lanes])
        self._counts = tf.ragged.constant(
            [[count for _, count in lane] for lane in lanes], tf.int64
        )
        positions = [
            order.lane_position(
                [count for _, count in shards], seed, lane, num_consumed
            )
            for lane, shards in enumerate(lanes)
        ]
        self._start = tf.constant(
            [[at.epoch, at.shard, at.record] for at in positions], tf.int64
        )

    def __call__(self, lane: tf.Tensor) -> tf.data.Dataset:
        epochs = tf.data.Dataset.counter(self._start[lane, 0])
        return epochs.flat_map(lambda epoch: self._epoch(lane, epoch))

    def _epoch(self, lane: tf.Tensor, epoch: tf.Tensor) -> tf.data.Dataset:
        start_epoch, start_shard, start_record = tf.unstack(self._start[lane], num=3)
        counts = self._counts[lane]
        num_shards = tf.size(counts, tf.int64)
        shards = order.shard_order(num_shards, self._seed, lane, epoch)
        is_start = epoch == start_epoch
        first = tf.where(is_start, start_shard, 0)

        def records(place: tf.Tensor) -> tf.data.Dataset:
            skip = tf.where(is_start & (place == first), start_record, 0)
            return self._shard(lane, epoch, shards[place], skip)

        return tf.data.Dataset.range(first, num_shards).flat_map(records)

    def _shard(
        self, lane: tf.Tensor, epoch: tf.Tensor, shard: tf.Tensor, skip: tf.Tensor
    ) -> tf.data.Dataset:
        first_block = skip // self._block_size
        num_skipped = first_block * self._block_size
        # With a buffer what is skipped is read all the same; -1 is the usual one.
        buffer_size = tf.where(num_skipped > 0, np.int64(0), np.int64(-1))
        blocks = (
            tf.data.TFRecordDataset(self._paths[lane][shard], buffer_size=buffer_size)
            .skip(num_skipped)
            # A file cut at a record boundary ends without an error of its own.
            .apply(
                tf.data.experimental.assert_cardinality(
                    self._counts[lane][shard] - num_skipped
                )
            )
            .batch(self._block_size)
            .enumerate(first_block)
            .map(
                lambda block, records: order.shuffle_block(
                    records, self._seed, lane, epoch, shard, block
                )
            )
        )
        return blocks.unbatch().skip(skip - num_skipped)


def evaluation_batches(
    manifest: contract.Manifest,
    dataset_dir: str | pathlib.Path,
    split: str,
    *,
    global_batch_size: int,
    context: tf.distribute.InputContext,
) -> tf.data.Dataset:
    """Returns this host's per-replica batches of a whole split, in the order on disk.

    The last global batch is filled up with records that count for nothing: every
    batch has a float32 `weight` `[batch]`, 1 for an example and 0 for filling.

    Raises:
        contract.DatasetError: If the split cannot be read.
    """
    records = _records(manifest, dataset_dir, split)
    num_filling = -num_examples(manifest, split) % global_batch_size
    filling = records.repeat().take(num_filling)
    weighted = records.map(lambda record: (record, np.float32(1))).concatenate(
        filling.map(lambda record: (record, np.float32(0)))
    )
    num_replicas = context.num_replicas_in_sync
    per_host = num_replicas // context.num_input_pipelines
    return (
        weighted.batch(global_batch_size // num_replicas, drop_remainder=True)
        .enumerate()
        .filter(
            lambda index, _: (
                index % num_replicas // per_host == context.input_pipeline_id
            )
        )
        .map(lambda _, batch: batch)
        .map(
            lambda serialized, weight: {
                **_without_keys(parse_records(serialized, manifest)),
                "weight": weight,
            },
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .prefetch(tf.data.AUTOTUNE)
    )


def examples(
    manifest: contract.Manifest,
    dataset_dir: str | pathlib.Path,
    split: str,
    batch_size: int,
) -> tf.data.Dataset:
    """Returns batches of a whole split, once, in the order on disk; the last is short.

    Their images are float32 in [-1, 1].

    Raises:
        contract.DatasetError: If the split cannot be read.
    """
    return (
        _records(manifest, dataset_dir, split)
        .batch(batch_size)
        .map(
            lambda records: _with_scaled_image(parse_records(records, manifest)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .prefetch(tf.data.AUTOTUNE)
    )


def _records(
    manifest: contract.Manifest, dataset_dir: str | pathlib.Path, split: str
) -> tf.data.Dataset:
    """Returns the serialized records of a whole split, in the order on disk."""
    shards = shard_paths(manifest, dataset_dir, split)
    records = tf.data.TFRecordDataset([path for path, _ in shards])
    num_records = sum(count for _, count in shards)
    # As in `_Lanes`, of a file cut at a record boundary.
    return records.apply(tf.data.experimental.assert_cardinality(num_records))


def first_examples(
    manifest: contract.Manifest, dataset_dir: str | pathlib.Path, split: str, num: int
) -> Batch:
    """Returns the first `num` examples of a split, or all, as `examples` does."""
    return next(iter(examples(manifest, dataset_dir, split, num)))


def describe_damage(error: tf.errors.OpError | UnicodeDecodeError) -> str | None:
    """Returns what an error of a step says of a damaged dataset, if it does."""
    if isinstance(error, UnicodeDecodeError):
        text = error.object.decode(errors="replace")
    else:
        text = error.message
    found = re.search("|".join(_DAMAGES), text)
    return found[0] if found else None


def _with_scaled_image(batch: Batch) -> Batch:
    """A dataset of latents has no images."""
    return {
        name: scaled(tensor) if name == "image" else tensor
        for name, tensor in batch.items()
    }


def _without_keys(batch: Batch) -> Batch:
    """A device has no strings."""
    return {name: tensor for name, tensor in batch.items() if name != "key"}
