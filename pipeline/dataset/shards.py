"""Makes one shard: keeps the shard of an earlier run, or writes and hashes a new one.

    OUT/NAME-SPLIT.tfrecord-00003-of-00064               the shard
    OUT/.progress/NAME-SPLIT...-of-00064.json            its sidecar, written last
    OUT/.progress/NAME-SPLIT...-of-00064.<run_id>.npz    its plan, while a run lasts
    OUT/.progress/NAME-SPLIT...-of-00064.<uuid>.tmp      the shard while it is written

This module imports neither TensorFlow nor Beam, so a worker starts in a second.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline import contract
from pipeline.dataset import examples, stats
from pipeline.formats import records
from pipeline.planning.dataset_settings import Settings
from pipeline.planning.plan import PlannedShard, ShardPlan
from pipeline.sources import Reader
from pipeline.sources.image_table import ImageTable
from pipeline.storage import files, large_files, paths


@dataclasses.dataclass(frozen=True)
class ShardResult:
    """The result of a finished shard; its sidecar holds the same fields.

    Attributes:
        split: Split of the shard.
        index: Position of the shard in its split.
        info: Manifest entry of the shard.
        rejects: Refused images, in the order of the plan.
        plan_fingerprint: Fingerprint of the plan that the shard was written from.
        run_id: ID of the run that wrote the shard.
        stats: Statistics of the shard from `Stats.to_dict`; None unless asked for.
    """

    split: str
    index: int
    info: contract.ShardInfo
    rejects: tuple[examples.Reject, ...]
    plan_fingerprint: str
    run_id: str
    stats: Mapping[str, Any] | None = None


def make_shard(
    plan: ShardPlan,
    settings: Settings,
    reader: Reader,
    output: str,
    run_id: str,
    stats_features: Mapping[str, contract.Feature] | None = None,
) -> ShardResult:
    """Keeps the shard of a plan if it is intact, else writes it; returns its result.

    A shard with rejects is kept only if a second look confirms them.

    Args:
        plan: Plan of the shard.
        settings: Preprocessing settings of the images.
        reader: Reader of the source.
        output: Dataset directory.
        run_id: ID of this run, recorded in the sidecars that it writes.
        stats_features: Features of a record if statistics are asked for, else None.

    Raises:
        DatasetError: If the source cannot be read, or the disk is full.
    """
    finished = find_intact(plan.shard, output)
    if finished is not None and not examples.find_unconfirmed(
        finished.rejects, plan.images, settings, reader
    ):
        if stats_features is None:
            return finished
        return _with_stats(finished, output, stats_features)
    rejects: list[examples.Reject] = []
    counts = None
    if stats_features is not None:
        counts = stats.Stats(stats_features["image"].shape[2])
    encoded = encode_records(plan.images, settings, reader, rejects, counts)
    return write_shard(plan.shard, encoded, output, run_id, rejects, counts)


def write_shard(
    shard: PlannedShard,
    encoded: Iterator[Sequence[records.Part]],
    output: str,
    run_id: str,
    rejects: Sequence[examples.Reject] = (),
    counts: stats.Stats | None = None,
) -> ShardResult:
    """Writes a shard, whole or not at all, then its sidecar.

    Args:
        shard: Description of the planned shard.
        encoded: Records of the shard, each as its parts.
        output: Dataset directory.
        run_id: ID of this run, recorded in the sidecars that it writes.
        rejects: Refused images; complete once `encoded` is exhausted.
        counts: Statistics, complete once `encoded` is exhausted; None unless asked for.

    Raises:
        DatasetError: If the disk is full, or if `encoded` raises it.
    """
    # A run that dies before its end would leave the old sidecar beside the new shard.
    paths.remove(sidecar_path(output, shard.name))
    temporary = files.temporary_path(output, shard.name)
    with files.full_disk_explained(str(temporary.parent), shard.name):
        try:
            info = write_records(shard.name, encoded, temporary)
            paths.put_file(str(temporary), paths.join(output, shard.name))
        finally:
            temporary.unlink(missing_ok=True)
        result = ShardResult(
            split=shard.split,
            index=shard.index,
            info=info,
            rejects=tuple(rejects),
            plan_fingerprint=shard.fingerprint,
            run_id=run_id,
            stats=None if counts is None else counts.to_dict(),
        )
        _write_sidecar(result, output)
    return result


def _with_stats(
    finished: ShardResult, output: str, features: Mapping[str, contract.Feature]
) -> ShardResult:
    """Returns a kept shard's result, and adds statistics if they are missing."""
    if stats.are_sound(finished.stats, features):
        return finished
    counts = stats.of_shard(paths.join(output, finished.info.name), features)
    result = dataclasses.replace(finished, stats=counts.to_dict())
    _write_sidecar(result, output)
    return result


def _write_sidecar(result: ShardResult, output: str) -> None:
    text = json.dumps(dataclasses.asdict(result)) + "\n"
    paths.write_bytes(sidecar_path(output, result.info.name), text.encode())


def encode_records(
    images: ImageTable,
    settings: Settings,
    reader: Reader,
    rejects: list[examples.Reject],
    counts: stats.Stats | None = None,
) -> Iterator[list[records.Part]]:
    """Yields the parts of each image's record, and collects the refused images.

    Args:
        images: Keys, locations and features of the images.
        settings: Preprocessing settings of the images.
        reader: Reader of the source.
        rejects: Receives the images that yield no record.
        counts: Counts the images that yield a record, unless it is None.
    """
    for key, image, labels in examples.make_examples(images, settings, reader, rejects):
        if counts is not None:
            counts.add(image, labels)
        yield records.encode_record(key, {"image": image}, labels)


def write_records(
    name: str, encoded: Iterator[Sequence[records.Part]], path: pathlib.Path
) -> contract.ShardInfo:
    """Writes records as a TFRecord file, and returns its manifest entry.

    Args:
        name: File name of the finished shard.
        encoded: Records of the shard, each as its parts.
        path: Path of the file to write.
    """
    sha256 = hashlib.sha256()
    num_examples = num_bytes = 0
    with large_files.LargeFile(path) as file:
        for parts in encoded:
            for part in records.frame(*parts):
                file.write(part)
                sha256.update(part)
                num_bytes += len(part)
            num_examples += 1
    return contract.ShardInfo(
        name=name,
        num_examples=num_examples,
        num_bytes=num_bytes,
        sha256=sha256.hexdigest(),
    )


def find_finished(planned: PlannedShard, output: str) -> ShardResult | None:
    """Returns the result of a shard if its sidecar fits the plan and the file's size.

    The hash is not checked, because hashing reads the whole file.
    """
    result = read_sidecar(sidecar_path(output, planned.name))
    if result is None or not _fits(result, planned):
        return None
    entry = paths.find(paths.join(output, planned.name))
    is_whole = entry is not None and entry.num_bytes == result.info.num_bytes
    return result if is_whole else None


def find_intact(planned: PlannedShard, output: str) -> ShardResult | None:
    """Returns the result of `find_finished` if the shard's hash is right, too."""
    finished = find_finished(planned, output)
    if finished is None:
        return None
    sha256 = paths.hash_file(paths.join(output, planned.name))
    return finished if sha256 == finished.info.sha256 else None


def _fits(result: ShardResult, planned: PlannedShard) -> bool:
    num_images = result.info.num_examples + len(result.rejects)
    return planned == PlannedShard(
        name=result.info.name,
        split=result.split,
        index=result.index,
        num_images=num_images,
        fingerprint=result.plan_fingerprint,
    )


def read_sidecar(path: str) -> ShardResult | None:
    """Parses a sidecar; returns None if the file is absent or damaged."""
    try:
        body = json.loads(paths.read_bytes(path))
        return ShardResult(
            split=body["split"],
            index=body["index"],
            info=contract.parse_shard_info(body["info"]),
            rejects=tuple(examples.Reject(**reject) for reject in body["rejects"]),
            plan_fingerprint=body["plan_fingerprint"],
            run_id=body["run_id"],
            stats=body.get("stats"),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None


def sidecar_path(output: str, name: str) -> str:
    """Returns the path of the sidecar of the shard `name`."""
    return paths.join(output, files.PROGRESS_DIR, f"{name}.json")
