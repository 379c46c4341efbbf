"""Publishes a dataset: accounts for every shard, then writes the other files.

`manifest.json` is written last. Every file is a function of the shards' results, so a
runner that publishes twice writes the same files again.
"""

import concurrent.futures
import dataclasses
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from absl import logging

from pipeline import contract
from pipeline.dataset import stats, versions
from pipeline.dataset.reject_check import RejectCheck, find_unconfirmed
from pipeline.dataset.shards import ShardResult
from pipeline.formats import tfds_files
from pipeline.planning.dataset_settings import DatasetSettings, Settings
from pipeline.planning.plan import PlannedShard
from pipeline.sources import Listing
from pipeline.storage import manifests, paths

_NUM_REJECTS_NAMED = 10


@dataclasses.dataclass(frozen=True)
class Publication:
    """The description of a dataset before its shards are written.

    Attributes:
        name: Dataset name.
        output: Dataset directory.
        settings: Settings that decide the dataset's content.
        source_fingerprint: Fingerprint of the source's listing.
        features: Features of a record, by name.
        max_rejected_fraction: Largest allowed fraction of refused images.
        with_stats: Whether to write `stats.json` and `overview.png` too.
        reject_check: Confirms rejects; None if no image can be rejected.
        shard_names: Names of the planned shards by split, in order.
        num_images: Number of planned images.
    """

    name: str
    output: str
    settings: DatasetSettings
    source_fingerprint: str
    features: Mapping[str, contract.Feature]
    max_rejected_fraction: float
    with_stats: bool = False
    reject_check: RejectCheck | None = None
    shard_names: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    num_images: int = 0

    def with_shards(self, planned: Sequence[PlannedShard]) -> "Publication":
        """Returns the publication with its planned shards."""
        names: dict[str, list[str]] = {}
        for shard in planned:
            names.setdefault(shard.split, []).append(shard.name)
        return dataclasses.replace(
            self,
            shard_names={split: tuple(named) for split, named in names.items()},
            num_images=sum(shard.num_images for shard in planned),
        )


def image_features(listing: Listing, settings: Settings) -> dict[str, contract.Feature]:
    """Returns the features of an image's record."""
    side = settings.image_size
    return {
        "key": contract.Feature(dtype="string"),
        "image": contract.Feature(
            settings.image_dtype, (side, side, listing.num_channels)
        ),
        **listing.features,
    }


def publish(publication: Publication, results: Iterable[ShardResult]) -> str:
    """Writes the files beside the shards, the manifest last, and returns the digest.

    Args:
        publication: Description of the dataset, with its planned shards.
        results: Results of all shards, in any order.

    Raises:
        DatasetError: If too many images were refused, a split has no image left, or a
            second look does not confirm a reject.
    """
    by_name = results_by_name(publication, results)
    check_rejects(publication, by_name.values())
    unconfirmed = find_unconfirmed(publication.reject_check, by_name.values())
    if unconfirmed is not None:
        raise contract.DatasetError(
            f"{unconfirmed}, but a second read of the image does not confirm this: "
            "the source was damaged or unreadable for a while. Make the same call "
            "again: it writes the shards of such images again"
        )
    manifest = build_manifest(publication, by_name)
    output = publication.output
    _write_text(output, contract.REJECTED_NAME, rejected_lines(by_name.values()))
    for name, text in tfds_files.file_texts(manifest).items():
        _write_text(output, name, text)
    if publication.with_stats:
        _write_stats(publication, by_name)
    _write_text(output, contract.MANIFEST_NAME, manifest.to_json())
    return manifest.digest


def _write_text(output: str, name: str, text: str) -> None:
    paths.write_bytes(paths.join(output, name), text.encode())


def complete_manifest(
    publication: Publication, results: Sequence[ShardResult]
) -> contract.Manifest | None:
    """Returns the manifest of a complete and intact dataset, else None.

    A dataset is also incomplete if a second look does not confirm one of its rejects.

    Args:
        publication: Description of the dataset, with its planned shards.
        results: Results of the shards that already exist.

    Raises:
        DatasetError: If too many images were refused, or a split has no image left.
    """
    try:
        manifest = manifests.load(publication.output)
    except contract.DatasetError:
        return None
    num_planned = sum(map(len, publication.shard_names.values()))
    names = {entry.name for entry in paths.list_directory(publication.output)}
    if len(results) < num_planned or not names.issuperset(published_names(publication)):
        return None
    by_name = results_by_name(publication, results)
    check_rejects(publication, results)
    if build_manifest(publication, by_name).digest != manifest.digest:
        return None
    unconfirmed = find_unconfirmed(publication.reject_check, results)
    if unconfirmed is not None:
        logging.warning(
            "%s, but a second read of the image does not confirm this: the shards of "
            "such images are written again",
            unconfirmed,
        )
        return None
    file_paths = [paths.join(publication.output, name) for name in by_name]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        hashes = list(pool.map(paths.hash_file, file_paths))
    is_intact = hashes == [result.info.sha256 for result in by_name.values()]
    return manifest if is_intact else None


def published_names(publication: Publication) -> list[str]:
    """Returns the names of the files that `publish` writes."""
    names = tfds_files.file_names(publication.features)
    if publication.with_stats:
        names = [*names, stats.STATS_NAME, contract.OVERVIEW_NAME]
    return [contract.REJECTED_NAME, *names, contract.MANIFEST_NAME]


def _write_stats(publication: Publication, by_name: Mapping[str, ShardResult]) -> None:
    output = publication.output
    by_split: dict[str, stats.Stats] = {}
    for split, names in publication.shard_names.items():
        merged = stats.Stats(publication.features["image"].shape[2])
        for name in names:
            shard_stats = by_name[name].stats
            assert shard_stats is not None, f"{name} was made without its statistics"
            merged.merge(stats.Stats.from_dict(shard_stats))
        by_split[split] = merged
    text = stats.stats_json(by_split, publication.features)
    _write_text(output, stats.STATS_NAME, text)
    first_split, *_ = publication.shard_names.values()
    file_paths = [paths.join(output, name) for name in first_split]
    picture = stats.overview_png(file_paths, publication.features)
    paths.write_bytes(paths.join(output, contract.OVERVIEW_NAME), picture)


def results_by_name(
    publication: Publication, results: Iterable[ShardResult]
) -> dict[str, ShardResult]:
    """Returns the results by shard name, in the order of the plan.

    Raises:
        RuntimeError: If the runner lost a shard, returned a shard twice, or returned a
            shard that was not planned.
    """
    results = list(results)
    returned = Counter(result.info.name for result in results)
    planned = Counter(
        name for names in publication.shard_names.values() for name in names
    )
    if returned != planned:
        wrong = sorted((returned - planned) + (planned - returned))
        raise RuntimeError(
            f"the runner returned {len(results)} results for {len(planned)} planned "
            f"shards; missing, duplicate or unknown shards: {', '.join(wrong[:10])}"
        )
    by_name = {result.info.name: result for result in results}
    return {name: by_name[name] for name in planned}


def check_rejects(publication: Publication, results: Iterable[ShardResult]) -> None:
    """Checks that few enough images were refused, and that no split is empty.

    Raises:
        DatasetError: If too many images were refused, or a split has no image left.
    """
    lines = [json.loads(line) for line in rejected_lines(results).splitlines()]
    fraction = len(lines) / publication.num_images
    if fraction > publication.max_rejected_fraction:
        named = ", ".join(
            f"{line['key']} ({line['reason']}: {line['detail']})"
            for line in lines[:_NUM_REJECTS_NAMED]
        )
        raise contract.DatasetError(
            f"{len(lines)} of {publication.num_images} images "
            f"{'was' if len(lines) == 1 else 'were'} rejected, a fraction of "
            f"{fraction:.4g}, more than max_rejected_fraction="
            f"{publication.max_rejected_fraction:g} allows: {named}"
            f"{', ...' if len(lines) > _NUM_REJECTS_NAMED else ''}"
        )
    num_examples: Counter[str] = Counter()
    for result in results:
        num_examples[result.split] += result.info.num_examples
    for split in publication.shard_names:
        if not num_examples[split]:
            raise contract.DatasetError(
                f"every image of split {split!r} was rejected: repair the source"
            )


def check_missing(publication: Publication, keys: Sequence[str]) -> None:
    """Checks that few enough images are missing, before any image is read.

    Args:
        publication: Description of the dataset, with its planned shards.
        keys: Keys of the images that the source lists but does not have.

    Raises:
        DatasetError: If the missing images alone exceed `max_rejected_fraction`.
    """
    if len(keys) / publication.num_images > publication.max_rejected_fraction:
        raise contract.DatasetError(
            f"{len(keys)} of {publication.num_images} images "
            f"{'is' if len(keys) == 1 else 'are'} missing, more than "
            f"max_rejected_fraction={publication.max_rejected_fraction:g} "
            f"allows: {', '.join(keys[:_NUM_REJECTS_NAMED])}"
            f"{', ...' if len(keys) > _NUM_REJECTS_NAMED else ''}; nothing in "
            "`output` was discarded"
        )


def rejected_lines(results: Iterable[ShardResult]) -> str:
    """Returns the text of `rejected.jsonl`: one image per line, sorted."""
    rejects = sorted(
        (contract.SPLITS.index(result.split), reject.key, result.split, reject)
        for result in results
        for reject in result.rejects
    )
    return "".join(
        json.dumps(
            {
                "split": split,
                "key": key,
                "reason": reject.reason,
                "detail": reject.detail,
            }
        )
        + "\n"
        for _, key, split, reject in rejects
    )


def build_manifest(
    publication: Publication, by_name: Mapping[str, ShardResult]
) -> contract.Manifest:
    """Returns the manifest of the finished shards."""
    splits = {}
    for split, names in publication.shard_names.items():
        results = [by_name[name] for name in names]
        reasons = Counter(
            reject.reason for result in results for reject in result.rejects
        )
        splits[split] = contract.SplitInfo(
            shards=tuple(result.info for result in results),
            rejected=dict(sorted(reasons.items())),
        )
    return contract.Manifest(
        name=publication.name,
        settings=publication.settings.to_dict(),
        source_fingerprint=publication.source_fingerprint,
        features=publication.features,
        splits=splits,
        versions=versions.find(publication.features),
    )
