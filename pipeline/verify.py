"""Verifies a dataset directory against its manifest.

    python -m pipeline.verify --dataset=DATASET_DIR

Prints one line per fault and exits with code 3. Without a fault, prints the numbers of
examples and the dataset digest.
"""

import concurrent.futures
import hashlib
import os
import sys
from collections.abc import Mapping

from absl import flags

from pipeline import contract
from pipeline.formats import records
from pipeline.process import arguments, bars, entry, limits, path_flags, wording
from pipeline.storage import manifests, paths

EXIT_FAULTY = 3

_DATASET = path_flags.define(
    "dataset", None, "Dataset directory (local, s3:// or gs://).", takes_urls=True
)


def find_faults(dataset_dir: str, manifest: contract.Manifest) -> list[str]:
    """Returns one line for each fault of a dataset, in the order of the manifest.

    Args:
        dataset_dir: Directory of the shards.
        manifest: Expected content of the dataset.
    """
    infos = [shard for split in manifest.splits.values() for shard in split.shards]
    names = {info.sha256: info.name for info in infos}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda info: shard_fault(dataset_dir, info, names), infos)
        shown = bars.over(infos, "verifying", "shard")
        pairs = zip(shown, results, strict=True)
        faults = [fault for _, fault in pairs if fault is not None]
    return faults + _stray_shards(dataset_dir, {info.name for info in infos})


def shard_fault(
    dataset_dir: str, info: contract.ShardInfo, names: Mapping[str, str]
) -> str | None:
    """Returns the fault of one shard as a line of text, or None for a sound shard.

    Checks framing, checksums, number of records and sha256 in one pass.

    Args:
        dataset_dir: Directory of the shards.
        info: Expected content of the shard.
        names: Names of all shards of the dataset, by sha256.

    Raises:
        OSError, DatasetError: If this process has too many files open.
    """
    path = paths.join(dataset_dir, info.name)
    sha256 = hashlib.sha256()
    num_examples = 0
    try:
        for framed in records.read_frames(path):
            sha256.update(framed)
            num_examples += 1
    except FileNotFoundError:
        return f"{info.name}: missing"
    except (OSError, contract.DatasetError) as error:
        if limits.is_out_of_files(error):
            raise
        return f"{info.name}: {error}"
    digest = sha256.hexdigest()
    if digest == info.sha256:
        if num_examples == info.num_examples:
            return None
        return (
            f"{info.name}: holds the {num_examples} records that were written, but "
            f"{contract.MANIFEST_NAME} says {info.num_examples}"
        )
    if not num_examples:
        return f"{info.name}: is empty"
    if digest in names:
        return f"{info.name}: holds the records of {names[digest]}"
    if num_examples < info.num_examples:
        return f"{info.name}: ends after {num_examples} of {info.num_examples} records"
    return (
        f"{info.name}: {wording.counted(num_examples, 'sound record')}, but not the "
        f"records that were written (sha256 {digest} instead of {info.sha256})"
    )


def _stray_shards(dataset_dir: str, known: set[str]) -> list[str]:
    names = sorted(entry.name for entry in paths.list_directory(dataset_dir))
    return [
        f"{name}: not in {contract.MANIFEST_NAME}"
        for name in names
        if ".tfrecord" in name and name not in known
    ]


def main(argv: list[str]) -> None:
    """Verifies the dataset that the flag names."""
    del argv
    dataset_dir = str(_DATASET.value)
    try:
        manifest = manifests.load(dataset_dir)
    except contract.DatasetError as error:
        print(f"error: {arguments.in_command(str(error))}", file=sys.stderr)
        sys.exit(EXIT_FAULTY)
    try:
        faults = find_faults(dataset_dir, manifest)
    except (OSError, contract.DatasetError) as error:
        if not limits.is_out_of_files(error):
            raise
        sys.exit(f"error: {limits.out_of_files_text(error)}")
    for fault in faults:
        print(f"error: {arguments.in_command(fault)}", file=sys.stderr)
    if faults:
        sys.exit(EXIT_FAULTY)
    counts = ", ".join(
        f"{name} {split.num_examples}" for name, split in manifest.splits.items()
    )
    print(f"OK: {dataset_dir}: {counts}; dataset digest: {manifest.digest}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["dataset"])
    entry.run(main)
