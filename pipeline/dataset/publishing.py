"""Publishes a dataset: accounts for every shard, then writes the other files.

`manifest.json` is written last. Every file is a function of the shards' results, so a
runner that publishes twice writes the same files again.
"""

import concurrent.futures
import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from absl import logging

from pipeline import contract
from pipeline.dataset import reject_limit, stats, versions
from pipeline.dataset.reject_check import RejectCheck, find_unconfirmed
from pipeline.dataset.shards import ShardResult
from pipeline.formats import tfds_files
from pipeline.planning.dataset_settings import DatasetSettings, Settings
from pipeline.planning.plan import PlannedShard
from pipeline.sources import Listing
from pipeline.storage import manifests, paths


@dataclasses.dataclass(frozen=True)
class Publication:
    """The description of a dataset before its shards are written.

    Attributes:
        name: Dataset name.
        output: Dataset directory.
        settings: Settings that decide the dataset's content.
        source_fingerprint: Fingerprint of the source's listing.
        features: Features of a record, by name.
        max_rejected_fraction: Largest allowed fraction of refused images; None for
            the default of `reject_limit`.
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
    max_rejected_fraction: float | None
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

    The rejects are also written if they are too many, so that the user can read them.

    Args:
        publication: Description of the dataset, with its planned shards.
        results: Results of all shards, in any order.

    Raises:
        DatasetError: If too many images were refused, a split has no image left, or a
            second look does not confirm a reject.
    """
    by_name = results_by_name(publication, results)
    output = publication.output
    # Without a manifest, the directory does not count as a dataset.
    _write_text(
        output, contract.REJECTED_NAME, reject_limit.rejected_lines(by_name.values())
    )
    _check_rejects(publication, by_name)
    unconfirmed = find_unconfirmed(publication.reject_check, by_name.values())
    if unconfirmed is not None:
        raise contract.DatasetError(
            f"{unconfirmed}, but a second read of the image does not confirm this: "
            "the source was damaged or unreadable for a while. Make the same call "
            "again: it writes the shards of such images again"
        )
    manifest = build_manifest(publication, by_name)
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
    _check_rejects(publication, by_name)
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


def _check_rejects(
    publication: Publication, by_name: Mapping[str, ShardResult]
) -> None:
    reject_limit.check(
        publication.output,
        publication.num_images,
        publication.max_rejected_fraction,
        publication.shard_names,
        list(by_name.values()),
    )


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
