"""Reads the images of one shard of latents, from a dataset or from raw files.

A dataset's manifest decides the plan of its shards, so a worker reads the manifest. The
plan of raw images is in a file, as for `prepare`:

    OUT/.progress/<run_id>.tmp                          marks a run on a dataset
    OUT/.progress/NAME-SPLIT...-of-00064.<run_id>.npz   the plan of raw images
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from pipeline import contract
from pipeline.dataset.examples import Reject, make_examples
from pipeline.formats import records
from pipeline.latents import latent_plan
from pipeline.planning import dataset_settings, plan_files
from pipeline.planning.plan import PlannedShard
from pipeline.process import path_flags, wording
from pipeline.sources import Reader
from pipeline.storage import files, manifests, paths

_NUM_REQUESTS = 16


@dataclasses.dataclass(frozen=True)
class ImageShard:
    """The images of a shard of latents.

    Attributes:
        planned: Planned shard of latents.
        features: Features of an image's record.
        examples: Examples of the images, made on demand.
        rejects: Images that were refused so far.
    """

    planned: PlannedShard
    features: Mapping[str, contract.Feature]
    examples: Iterator[records.Example]
    rejects: list[Reject] = dataclasses.field(default_factory=list)


class Images(Protocol):
    """A set of images to encode; pickled to the workers, opened there."""

    def open(self, output: str, name: str, run_id: str) -> ImageShard:
        """Opens the images of a shard.

        Args:
            output: Directory of the latents.
            name: Name of the shard.
            run_id: ID of the run that makes the latents.

        Raises:
            DatasetError: If the run has ended, or the images cannot be read. Iterating
                over the examples may raise it, too.
        """
        ...


@dataclasses.dataclass(frozen=True)
class DatasetImages:
    """Images of a dataset.

    Attributes:
        dataset_dir: Directory of the dataset.
        settings: Settings of the latents.
    """

    dataset_dir: str
    settings: latent_plan.Settings

    def open(self, output: str, name: str, run_id: str) -> ImageShard:
        """See `Images`."""
        if paths.find(_mark_path(output, run_id)) is None:
            raise contract.DatasetError(
                f"a worker does not find this run in {output}: every worker must see "
                "`output` at the same path, and no later run may work in it"
            )
        manifest, planned = _read_plan(self.dataset_dir, self.settings)
        shard, info = planned[name]
        read = _read_examples(self.dataset_dir, manifest, info)
        return ImageShard(shard, manifest.features, read)


@dataclasses.dataclass(frozen=True)
class RawImages:
    """Images of a source, preprocessed as `prepare` does.

    Attributes:
        settings: Preprocessing settings of the images.
        reader: Reader of the source.
        features: Features of an image's record.
    """

    settings: dataset_settings.Settings
    reader: Reader
    features: Mapping[str, contract.Feature]

    def open(self, output: str, name: str, run_id: str) -> ImageShard:
        """See `Images`."""
        plan = plan_files.load_plan(output, name, run_id)
        rejects: list[Reject] = []
        images = make_examples(plan.images, self.settings, self.reader, rejects)
        return ImageShard(plan.shard, self.features, images, rejects)


@functools.lru_cache(maxsize=1)
def _read_plan(
    dataset_dir: str, settings: latent_plan.Settings
) -> tuple[contract.Manifest, dict[str, tuple[PlannedShard, contract.ShardInfo]]]:
    manifest = manifests.load(dataset_dir)
    if manifest.digest != settings.images:
        raise contract.DatasetError(
            f"dataset={dataset_dir} is another dataset on a worker (digest "
            f"{manifest.digest} instead of {settings.images}): every worker must see "
            "the same dataset at this path"
        )
    return manifest, latent_plan.of_dataset(manifest, settings)


def _read_examples(
    dataset_dir: str, manifest: contract.Manifest, info: contract.ShardInfo
) -> Iterator[records.Example]:
    """Yields the examples of a shard, then checks the shard's hash."""
    path = paths.join(dataset_dir, info.name)
    sha256 = hashlib.sha256()
    frames = _hashed(_frames(path), sha256)
    yield from records.parse_examples(frames, path, manifest.features)
    if sha256.hexdigest() != info.sha256:
        raise contract.DatasetError(
            f"shard {path} has changed since it was written: "
            f"{path_flags.command('pipeline.verify', dataset=dataset_dir)} describes "
            "the damage, and pipeline.prepare restores the shard"
        )


def _frames(path: str) -> Iterator[bytes]:
    try:
        yield from records.read_frames(path)
    except (OSError, contract.DatasetError) as error:
        raise contract.DatasetError(
            f"cannot read shard {path}: {wording.cause(error)}"
        ) from error


def _hashed(frames: Iterable[bytes], sha256: "hashlib._Hash") -> Iterator[bytes]:
    for framed in frames:
        sha256.update(framed)
        yield framed


def check_shards(dataset_dir: str, manifest: contract.Manifest) -> None:
    """Checks that every shard of a dataset exists and has the right size.

    Raises:
        DatasetError: If a shard is missing or has another size. The error names the
            first such shard.
    """
    infos = [info for split in manifest.splits.values() for info in split.shards]
    file_paths = [paths.join(dataset_dir, info.name) for info in infos]
    # In a bucket each shard takes a request.
    with concurrent.futures.ThreadPoolExecutor(_NUM_REQUESTS) as pool:
        entries = list(pool.map(paths.find, file_paths))
    for info, entry, path in zip(infos, entries, file_paths, strict=True):
        if entry is None or entry.num_bytes != info.num_bytes:
            state = "is missing" if entry is None else f"has {entry.num_bytes} bytes"
            raise contract.DatasetError(
                f"shard {path} {state}, but its manifest says {info.num_bytes} bytes: "
                "run pipeline.prepare again to restore the shard"
            )


def mark_run(output: str, run_id: str) -> None:
    """Marks a run as active, which lets its workers write shards of latents.

    The mark is removed when the run ends. A job that outlives its launcher then fails,
    as a job of `prepare` does without its plans.
    """
    paths.write_bytes(_mark_path(output, run_id), b"")


def _mark_path(output: str, run_id: str) -> str:
    return paths.join(output, files.PROGRESS_DIR, f"{run_id}.tmp")
