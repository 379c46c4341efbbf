"""tf.data pipelines from prepared shards to batches.

number of a batch -> [shard, record] of its examples -> arrays, serialized Examples
                  -> {"image": [b, h, w, c] as stored, "record_id": [b] int64}

Batches have their images as records do, of one, two or four bytes a value: they are
brought to [-1, 1] by `scaled`, on the device that they are for.
"""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline import contract
from trainer import order
from trainer.record_reader import DamageError, RecordReader

Batch = dict[str, tf.Tensor]

# While one waits for a file another has Python's lock; more would wait for that.
_PARALLEL_READS = 2

# What is said of a file that is not what it was: by `record_reader`, and by TensorFlow
# of the rest of a record.
_DAMAGES = (
    r"(?<=DamageError: ).+",
    r"(?<=Name: )record \d+ of [^\[\n]*(\[[\d,]*\])?",
    r"Could not parse example input",
    r"Unsupported datatype",
)


def scaled(stored: tf.Tensor) -> tf.Tensor:
    """Returns images as float32 in [-1, 1], whatever type they are stored as.

    Args:
        stored: `[batch, height, width, channels]`, of one of `contract.IMAGE_DTYPES`.

    Example:
        >>> [round(float(x), 4) for x in scaled(tf.constant([0, 51, 255], tf.uint8))]
        [-1.0, -0.6, 1.0]
    """
    scale, offset = contract.IMAGE_DTYPES[stored.dtype.name]
    if stored.dtype == tf.uint8 and not tf.config.list_logical_devices("GPU"):
        # The same in one pass, by a kernel that only CPUs have.
        return tf.raw_ops.Dequantize(
            input=tf.bitcast(stored, tf.quint8),
            min_range=offset,
            max_range=scale * 255 + offset,
        )
    values = tf.cast(stored, tf.float32)
    return values if (scale, offset) == (1.0, 0.0) else values * scale + offset


def shards_of(
    manifest: contract.Manifest, dataset_dir: str | pathlib.Path, split: str
) -> list[contract.ShardInfo]:
    """Returns the shards of a split that have any examples.

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
        found = [one for one in manifest.splits[name].shards if one.num_examples]
        if not found:
            raise contract.DatasetError(f"split {name!r} of {dataset_dir} is empty")
        shards += found
    return shards


def num_examples(manifest: contract.Manifest, split: str) -> int:
    """Returns the examples of a split, or of several that are joined by a plus."""
    return sum(manifest.splits[name].num_examples for name in split.split("+"))


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
        start_step: Steps that are already made. Of the records before it the lengths
            are read, in the shard in which each lane stands.
        context: Which share of the batch is this host's.

    Raises:
        contract.DatasetError: If the split cannot be read.
    """
    records = _Records(manifest, dataset_dir, split)
    # As many lanes as divide the shards of every split, so that each gets its share.
    fewest = min(len(manifest.splits[name].shards) for name in split.split("+"))
    shuffle = order.Shuffle(
        records.num_examples,
        order.num_lanes(global_batch_size, fewest),
        seed=seed,
        global_batch_size=global_batch_size,
        block_size=block_size,
    )
    share = _Share(global_batch_size, context)

    def places(number: int) -> np.ndarray:
        step, first = share.start(number)
        return shuffle.places(start_step + step, first, first + share.batch_size)

    def batch(number: tf.Tensor) -> Batch:
        return _without_keys(records.batch(number, places, share.batch_size))

    return _made(tf.data.Dataset.counter(), batch)


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
    records = _Records(manifest, dataset_dir, split)
    total = sum(records.num_examples)
    share = _Share(global_batch_size, context)

    def places(number: int) -> np.ndarray:
        step, first = share.start(number)
        first += step * global_batch_size
        return order.in_turn(records.num_examples, first, first + share.batch_size)

    def batch(number: tf.Tensor) -> Batch:
        step, first = share.start(number)
        first += step * global_batch_size
        numbers = first + tf.range(share.batch_size, dtype=tf.int64)
        return {
            **_without_keys(records.batch(number, places, share.batch_size)),
            "weight": tf.cast(numbers < total, tf.float32),
        }

    num_steps = -(-total // global_batch_size)
    return _made(tf.data.Dataset.range(num_steps * share.num_replicas), batch)


def examples(
    manifest: contract.Manifest,
    dataset_dir: str | pathlib.Path,
    split: str,
    batch_size: int,
) -> Iterator[Batch]:
    """Yields batches of a whole split, once, in the order on disk; the last is short.

    Their images are float32 in [-1, 1]; `key` is `[batch]` string.

    Raises:
        contract.DatasetError: If the split cannot be read.
    """
    records = _Records(manifest, dataset_dir, split)
    total = sum(records.num_examples)
    for first in range(0, total, batch_size):
        stop = min(first + batch_size, total)
        batch = records.parse(
            records.read(order.in_turn(records.num_examples, first, stop))
        )
        # A dataset of latents has no images.
        if "image" in batch:
            batch["image"] = scaled(batch["image"])
        yield batch


def first_examples(
    manifest: contract.Manifest, dataset_dir: str | pathlib.Path, split: str, num: int
) -> Batch:
    """Returns the first `num` examples of a split, or all, as `examples` does."""
    return next(examples(manifest, dataset_dir, split, num))


@dataclasses.dataclass(frozen=True)
class _Share:
    """Which part of the global batches is this host's.

    Attributes:
        global_batch_size: Examples per step over all replicas.
        context: Of the host.
    """

    global_batch_size: int
    context: tf.distribute.InputContext

    @property
    def batch_size(self) -> int:
        """Examples of a replica."""
        return self.global_batch_size // self.context.num_replicas_in_sync

    @property
    def num_replicas(self) -> int:
        """Replicas of this host, each of which has a batch in every step."""
        context = self.context
        return context.num_replicas_in_sync // context.num_input_pipelines

    def start(self, number: Any) -> tuple[Any, Any]:
        """Returns the step of the host's batch, and where in the global one it begins.

        Args:
            number: Of the batch: an integer, or a tensor, as the results then are.
        """
        step, local = number // self.num_replicas, number % self.num_replicas
        replica = self.context.input_pipeline_id * self.num_replicas + local
        return step, replica * self.batch_size


class _Records:
    """The records of a split.

    Attributes:
        num_examples: Of each shard.
    """

    def __init__(
        self, manifest: contract.Manifest, dataset_dir: str | pathlib.Path, split: str
    ) -> None:
        shards = shards_of(manifest, dataset_dir, split)
        self.num_examples = [shard.num_examples for shard in shards]
        self._paths = [str(pathlib.Path(dataset_dir) / shard.name) for shard in shards]
        self._reader = RecordReader(self._paths, shards, manifest.features)
        self._arrays = self._reader.arrays
        self._others = {
            name: tf.io.FixedLenFeature(feature.shape, tf.as_dtype(feature.dtype))
            for name, feature in manifest.features.items()
            if name not in self._arrays
        }

    def read(self, places: np.ndarray) -> list[np.ndarray]:
        """Returns what `parse` needs of records, by their places `[batch, 2]`."""
        arrays, others = self._reader.read(places)
        return [*arrays.values(), others, places]

    def parse(self, found: Sequence[np.ndarray] | Sequence[tf.Tensor]) -> Batch:
        """Parses what `read` returned.

        Returns:
            `image` `[batch, height, width, channels]`, or of a dataset of latents
            `posterior_mean` and `posterior_log_var`, `[batch, latent_dim]`; `key`
            `[batch]` string; and the other features (attributes, landmarks, …)
            `[batch, ...]`, all of their type in the manifest; and `record_id` `[batch]`
            int64, a hash of the key.
        """
        *arrays, others, places = map(tf.convert_to_tensor, found)
        # Errors quote them.
        names = tf.strings.join(
            [
                "record ",
                tf.strings.as_string(places[:, 1]),
                " of shard ",
                tf.gather(self._paths, places[:, 0]),
            ]
        )
        parsed = tf.io.parse_example(others, self._others, example_names=names)
        return {
            **dict(zip(self._arrays, arrays, strict=True)),
            "record_id": tf.bitcast(tf.fingerprint(parsed["key"]), tf.int64),
            **parsed,
        }

    def batch(
        self, number: tf.Tensor, places: Callable[[int], np.ndarray], batch_size: int
    ) -> Batch:
        """Returns what `parse` does of a batch, in a graph.

        Args:
            number: Of the batch, a scalar int64.
            places: Gives the places of its records, `[batch_size, 2]` int64.
            batch_size: Of all batches.
        """
        dtypes = [tf.as_dtype(feature.dtype) for feature in self._arrays.values()]
        found = tf.numpy_function(
            lambda number: self.read(places(int(number))),
            [number],
            [*dtypes, tf.string, tf.int64],
        )
        shapes = [feature.shape for feature in self._arrays.values()]
        for tensor, shape in zip(found, [*shapes, (), (2,)], strict=True):
            tensor.set_shape([batch_size, *shape])
        return self.parse(found)


def _made(
    numbers: tf.data.Dataset, make_batch: Callable[[tf.Tensor], Batch]
) -> tf.data.Dataset:
    return numbers.map(
        # There is nothing in it to convert, and looking takes a while.
        tf.autograph.experimental.do_not_convert(make_batch),
        num_parallel_calls=_PARALLEL_READS,
        deterministic=True,
    ).prefetch(tf.data.AUTOTUNE)


def describe_damage(
    error: tf.errors.OpError | UnicodeDecodeError | DamageError,
) -> str | None:
    """Returns what an error of a step says of a damaged dataset, if it does."""
    if isinstance(error, DamageError):
        return str(error)
    if isinstance(error, UnicodeDecodeError):
        text = error.object.decode(errors="replace")
    else:
        text = error.message
    found = re.search("|".join(_DAMAGES), text)
    return found[0] if found else None


def _without_keys(batch: Batch) -> Batch:
    """A device has no strings."""
    return {name: tensor for name, tensor in batch.items() if name != "key"}
