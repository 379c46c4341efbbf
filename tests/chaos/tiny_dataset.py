"""A small dataset of random 8 px images, for tests that damage it."""

import hashlib
import os
import pathlib

import numpy as np

from pipeline import contract
from pipeline.formats import records

SHAPE = (8, 8, 3)
# Number of shards and records per shard, by split.
_SIZES = {"train": (8, 8), "validation": (2, 8)}


def write(directory: pathlib.Path, nan_record: int | None = None) -> pathlib.Path:
    """Writes a dataset as `pipeline.prepare` leaves it, without the files for TFDS.

    Args:
        directory: Directory to create.
        nan_record: Index of the training record with a NaN pixel, if any; the manifest
            matches the record with the NaN.

    Returns:
        `directory`.
    """
    directory.mkdir(parents=True)
    rng = np.random.default_rng(0)
    splits = {}
    for split, (num_shards, num_records) in _SIZES.items():
        shards = []
        for index in range(num_shards):
            framed = []
            for place in range(num_records):
                number = index * num_records + place
                image = rng.uniform(-1, 1, SHAPE).astype(np.float32)
                if split == "train" and number == nan_record:
                    image[0, 0, 0] = np.nan
                record = records.encode_record(
                    f"{split}/{number}", {"image": image}, {}
                )
                framed += records.frame(*record)
            name = contract.shard_name("tiny", split, index, num_shards)
            data = b"".join(framed)
            (directory / name).write_bytes(data)
            sha256 = hashlib.sha256(data).hexdigest()
            shards.append(contract.ShardInfo(name, num_records, len(data), sha256))
        splits[split] = contract.SplitInfo(tuple(shards))
    manifest = contract.Manifest(
        name="tiny",
        settings={},
        source_fingerprint="0",
        features={
            "key": contract.Feature("string"),
            "image": contract.Feature("float32", SHAPE),
        },
        splits=splits,
    )
    (directory / contract.MANIFEST_NAME).write_text(manifest.to_json())
    return directory


def shards(directory: pathlib.Path, split: str = "train") -> list[pathlib.Path]:
    """Returns the paths of a split's shards, in order."""
    return sorted(directory.glob(f"*-{split}.tfrecord-*"))


def replace(path: pathlib.Path, data: bytes) -> None:
    """Replaces a file by renaming a new file over it, as a copying tool would."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(data)
    os.replace(temporary, path)
