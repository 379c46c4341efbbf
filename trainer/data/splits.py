"""Shards of a split: their list, and checks against the manifest."""

import hashlib
import pathlib

from pipeline import contract


def shards_of(
    manifest: contract.Manifest, dataset_dir: str | pathlib.Path, split: str
) -> list[contract.ShardInfo]:
    """Returns the shards of a split that have any examples.

    Args:
        manifest: Manifest of the dataset.
        dataset_dir: Directory of the dataset's shards.
        split: Name of a split, or several names joined by a plus.

    Raises:
        contract.DatasetError: If a shard is missing or has another size, or if a
            split is unknown or empty.
    """
    shards = []
    for name in split.split("+"):
        check_shard_sizes(manifest, dataset_dir, name)
        with_examples = [
            shard for shard in manifest.splits[name].shards if shard.num_examples
        ]
        if not with_examples:
            raise contract.DatasetError(f"split {name!r} of {dataset_dir} is empty")
        shards += with_examples
    return shards


def num_examples(manifest: contract.Manifest, split: str) -> int:
    """Returns the number of examples in a split, or in several joined by a plus."""
    return sum(manifest.splits[name].num_examples for name in split.split("+"))


def check_shard_sizes(
    manifest: contract.Manifest, dataset_dir: str | pathlib.Path, split: str
) -> None:
    """Checks the size in bytes of each shard against the manifest: O(shards).

    Raises:
        contract.DatasetError: If the split is unknown, or a shard is missing or has
            another size; the text names the first such shard.
    """
    if split not in manifest.splits:
        raise contract.DatasetError(
            f"no split {split!r} in {dataset_dir}, only {', '.join(manifest.splits)}"
        )
    for shard in manifest.splits[split].shards:
        path = pathlib.Path(dataset_dir) / shard.name
        try:
            num_bytes = path.stat().st_size
        except OSError as error:
            raise contract.DatasetError(
                f"shard {path} cannot be read: {error.strerror}"
            ) from error
        if num_bytes != shard.num_bytes:
            raise contract.DatasetError(
                f"shard {path} has {num_bytes} bytes, and its manifest says "
                f"{shard.num_bytes}: run pipeline.prepare again to restore it"
            )


def check_shard_hashes(
    manifest: contract.Manifest, dataset_dir: str | pathlib.Path, split: str
) -> None:
    """Checks every shard of a split against its hash: O(bytes).

    Equal bytes also mean equal records. `pipeline.verify` names the damage of each
    shard.

    Raises:
        contract.DatasetError: If the split is unknown, or a shard is missing or has
            another content; the text names the first such shard.
    """
    check_shard_sizes(manifest, dataset_dir, split)
    for shard in manifest.splits[split].shards:
        path = pathlib.Path(dataset_dir) / shard.name
        try:
            with open(path, "rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise contract.DatasetError(
                f"shard {path} cannot be read: {error.strerror}"
            ) from error
        if sha256 != shard.sha256:
            raise contract.DatasetError(
                f"shard {path} has the sha256 {sha256}, and its manifest says "
                f"{shard.sha256}: run pipeline.prepare again to restore it"
            )
