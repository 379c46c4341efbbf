"""Images that TensorFlow Datasets prepared: TFRecord files of encoded images.

    DIR/dataset_info.json, DIR/features.json       see `tfds_info`
    DIR/celeb_a-train.tfrecord-00003-of-00016      shards, see `tfds_shards`

DIR is the directory of a version, such as DATA_DIR/celeb_a/2.1.0, or a directory with a
single version in it. Listing reads every record once, for its labels. A worker gets the
byte range of each of its images and reads this range.

This module does not use TensorFlow Datasets' own readers:

- `tfds.beam.ReadFromTFDS` yields decoded images in the order of the files. Only a
  shuffle of pixels could bring them into the order of our plan. It also imports
  TensorFlow in every worker, which takes 3.5 s of CPU time and 690 MB; the `Example`
  message alone takes 0.3 s and 56 MB.
- `tfds.data_source` has no random access to TFRecord files.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from absl import logging

from pipeline import contract
from pipeline.formats import records
from pipeline.process import wording
from pipeline.sources import Listing, splits
from pipeline.sources.image_table import ImageTable, Spool
from pipeline.sources.listing import file_states
from pipeline.sources.tfds import tfds_info, tfds_labels, tfds_reader, tfds_shards
from pipeline.storage import path_resolution, paths


def list_images(
    input_dir: str, *, seed: int = 0, split_fractions: Sequence[float] | None = None
) -> Listing:
    """Returns the images of a prepared data set, with its labels.

    A key consists of the split and the image's number in TensorFlow Datasets' files.

    Args:
        input_dir: Directory of a version, or above it; see `tfds_info.find_root`.
        seed: Seed of the hashes that decide the splits, if train is the only split.
        split_fractions: Fractions of the images for `contract.SPLITS`; None keeps the
            data set's own splits, or uses `splits.DEFAULT_FRACTIONS` if train is the
            only split.

    Raises:
        DatasetError: If the data set cannot be read, a shard is missing or has the
            wrong number of records, a label is out of its range, or the data set has
            its own splits and `split_fractions` is given.
    """
    info = tfds_info.read_info(tfds_info.find_root(input_dir))
    name_of = _split_names(info, split_fractions)
    file_paths = {split: _find_shards(info, name) for split, name in name_of.items()}
    fractions = None
    if list(name_of) == ["train"]:
        fractions = tuple(split_fractions or splits.DEFAULT_FRACTIONS)
    names = {name: label.feature.names for name, label in info.labels.items()}
    content = hashlib.sha256(f"{names}\n".encode())
    spools = {split: Spool() for split in name_of}
    states = {
        path_resolution.resolve(path): file_states.find(path)
        for shard_paths in file_paths.values()
        for path in shard_paths
    }
    damaged: list[str] = []
    for split, images in _read_shards(info, name_of, file_paths, damaged):
        # The fingerprint covers the content, not the offsets of the records.
        for key, (*_, size, stored) in zip(
            images.keys, images.locations.tolist(), strict=True
        ):
            content.update(f"{key} {size} {stored}\n".encode())
        spools[split].add(images)
    parts = _Parts(spools, fractions, seed)
    counts = splits.count_images(parts, fractions)
    logging.info("%s in %s: %s", info.name, info.root, counts)
    return Listing(
        name=info.name,
        parts=parts,
        features={name: label.feature for name, label in info.labels.items()},
        fingerprint=content.hexdigest(),
        reader=tfds_reader.RecordReader(states, damaged, info.image, info.num_channels),
        num_channels=info.num_channels,
        split_fractions=fractions,
    )


@dataclasses.dataclass(frozen=True)
class _Parts:
    """The images by split; fractions, if any, divide them by hashes of the keys."""

    spools: Mapping[str, Spool]
    fractions: Sequence[float] | None
    seed: int

    def __iter__(self) -> Iterator[tuple[str, ImageTable]]:
        for split, spool in self.spools.items():
            for images in spool:
                if self.fractions is None:
                    yield split, images
                else:
                    split_of = splits.hashed_splits(
                        images.keys, self.fractions, self.seed
                    )
                    yield from splits.divided(images, split_of)


def _split_names(
    info: tfds_info.Info, split_fractions: Sequence[float] | None
) -> dict[str, str]:
    """Returns the name that the data set uses for each of our splits."""
    present = f"input={info.root} has the splits {', '.join(info.shard_lengths)}"
    name_of: dict[str, str] = {}
    unused = []
    for name in info.shard_lengths:
        split = splits.SPLIT_OF_NAME.get(name)
        if split is None:
            unused.append(name)
        elif name_of.setdefault(split, name) != name:
            raise contract.DatasetError(
                f"{present}: {name_of[split]} and {name} both mean the {split} split; "
                "give another data set"
            )
    if not name_of:
        raise contract.DatasetError(
            f"{present}, but none of {', '.join(splits.SPLIT_OF_NAME)}: give another "
            "data set"
        )
    if list(name_of) != ["train"] and split_fractions is not None:
        raise contract.DatasetError(f"{present}: leave `split_fractions` out")
    for name in name_of.values():
        if not sum(info.shard_lengths[name]):
            raise contract.DatasetError(
                f"{present}, but {name} is empty: prepare the data set again"
            )
    if unused:
        logging.info("unused splits: %s", ", ".join(unused))
    return {split: name_of[split] for split in contract.SPLITS if split in name_of}


def _find_shards(info: tfds_info.Info, name: str) -> list[str]:
    """Returns the shards of a split, and checks their number."""
    file_paths = tfds_shards.find_shards(info.root, info.name, name)
    expected = len(info.shard_lengths[name])
    if len(file_paths) != expected:
        raise contract.DatasetError(
            f"input={info.root} has {wording.counted(len(file_paths), 'shard')} of "
            f"split {name!r}, but its dataset_info.json says {expected}: prepare the "
            "data set again"
        )
    return file_paths


def _read_shards(
    info: tfds_info.Info,
    name_of: Mapping[str, str],
    file_paths: Mapping[str, Sequence[str]],
    damaged: list[str],
) -> Iterator[tuple[str, ImageTable]]:
    """Yields the split and the images of each shard, in order.

    Appends to `damaged` the keys of records with a wrong checksum.
    """
    number = 0
    for split, name in name_of.items():
        lengths = info.shard_lengths[name]
        # All numbers get the same number of digits, so the keys sort in numeric order.
        num_digits = max(5, len(str(sum(lengths) - 1)))
        first = 0
        for path, length in zip(file_paths[split], lengths, strict=True):
            # Check the announced length first: its keys take memory before the records
            # are counted.
            entry = paths.find(path)
            num_bytes = 0 if entry is None else entry.num_bytes
            if not 0 <= length <= num_bytes // records.MIN_FRAME_BYTES:
                raise contract.DatasetError(
                    f"cannot read {path}: it does not have the {length} records that "
                    "dataset_info.json announces; give another `input`"
                )
            places = range(first, first + length)
            keys = [f"{split}-{place:0{num_digits}d}" for place in places]
            yield split, _read_shard(info, path, number, keys, damaged)
            number, first = number + 1, first + length


def _read_shard(
    info: tfds_info.Info, path: str, number: int, keys: list[str], damaged: list[str]
) -> ImageTable:
    """Returns the images of a shard.

    A record with a wrong checksum gets zeros for labels, and its key is appended to
    `damaged`: the reader will reject its image.
    """
    zeros = {name: [0] * len(label.scalars) for name, label in info.labels.items()}
    locations: list[tuple[int, ...]] = []
    values_of: dict[str, list[list[int]]] = {name: [] for name in info.labels}
    offset = 0
    with tfds_shards.shard_named(path):
        for place, framed in enumerate(records.read_unchecked_frames(path)):
            record, stored = records.unframed(framed), records.stored_checksum(framed)
            locations.append((number, offset, len(framed), stored))
            offset += len(framed)
            labels = zeros
            if records.checksum(record) == stored:
                with tfds_shards.record_named(place):
                    labels = _parse_labels(record, info.labels)
            elif place < len(keys):
                damaged.append(keys[place])
            for name, values in labels.items():
                values_of[name].append(values)
        if len(locations) != len(keys):
            raise contract.DatasetError(
                f"it has {len(locations)} records, but dataset_info.json says "
                f"{len(keys)}"
            )
    return ImageTable(
        keys=keys,
        locations=np.array(locations, np.int64).reshape(len(keys), 4),
        features={
            name: np.array(values_of[name], label.dtype).reshape(
                -1, *label.feature.shape
            )
            for name, label in info.labels.items()
        },
    )


def _parse_labels(
    record: bytes, labels: Mapping[str, tfds_labels.Label]
) -> dict[str, list[int]]:
    """Returns the values of each label; raises DatasetError for a malformed record."""
    feature = tfds_shards.parse_example(record)
    values_of: dict[str, list[int]] = {}
    for name, label in labels.items():
        lists = {scalar: feature[scalar].int64_list.value for scalar in label.scalars}
        empty = [scalar for scalar, values in lists.items() if not values]
        if empty:
            raise contract.DatasetError(f"has no integer for {', '.join(empty):.60}")
        values_of[name] = [values[0] for values in lists.values()]
        low, high = min(values_of[name]), max(values_of[name])
        if not label.low <= low <= high <= label.high:
            raise contract.DatasetError(
                f"has {name} from {low} to {high}: expected {label.low} to {label.high}"
            )
    return values_of
