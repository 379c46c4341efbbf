"""The images that a shard of latents is made of: of a dataset, or raw.

What is planned of a dataset follows from its manifest, which a worker reads itself; of
raw images it is in a file, as for `prepare`:

    OUT/.progress/<run_id>.tmp                          there while a run lasts
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
from pipeline.process import path_flags
from pipeline.sources import Reader
from pipeline.storage import files, manifests, paths

_NUM_REQUESTS = 16


@dataclasses.dataclass(frozen=True)
class ImageShard:
    """The images of a shard of latents.

    Attributes:
        planned: The shard of latents.
        features: Of an image's record.
        examples: The images, made as they are asked for.
        rejects: Those that were refused on the way.
    """

    planned: PlannedShard
    features: Mapping[str, contract.Feature]
    examples: Iterator[records.Example]
    rejects: list[Reject] = dataclasses.field(default_factory=list)


class Images(Protocol):
    """Where images are; pickled to the workers, opened there."""

    def open(self, output: str, name: str, run_id: str) -> ImageShard:
        """Returns the images of a shard.

        Args:
            output: Directory of the latents.
            name: Of the shard.
            run_id: Of the run that makes them.

        Raises:
            DatasetError: If the run has ended, or the images cannot be read, which
                may show when they are asked for.
        """
        ...


@dataclasses.dataclass(frozen=True)
class DatasetImages:
    """Those of a dataset.

    Attributes:
        dataset_dir: Where it is.
        settings: Of the latents.
    """

    dataset_dir: str
    settings: latent_plan.Settings

    def open(self, output: str, name: str, run_id: str) -> ImageShard:
        """See `Images`."""
        if paths.find(_mark_path(output, run_id)) is None:
            raise contract.DatasetError(
                f"a worker does not see the run in {output}: every worker must see "
                "--output at the same path, and no later run may be at work in it"
            )
        manifest, planned = _read_plan(self.dataset_dir, self.settings)
        shard, info = planned[name]
        read = _read_examples(self.dataset_dir, manifest, info)
        return ImageShard(shard, manifest.features, read)


@dataclasses.dataclass(frozen=True)
class RawImages:
    """Those of a source, which are made as `prepare` does.

    Attributes:
        settings: How to preprocess them.
        reader: Of the source.
        features: Of a record.
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
            f"--dataset={dataset_dir} is another one where a worker looks "
            f"({manifest.digest} instead of {settings.images}): every worker must see "
            "it at the same path"
        )
    return manifest, latent_plan.of_dataset(manifest, settings)


def _read_examples(
    dataset_dir: str, manifest: contract.Manifest, info: contract.ShardInfo
) -> Iterator[records.Example]:
    """Yields the examples of a shard, and holds it to its hash."""
    path = paths.join(dataset_dir, info.name)
    sha256 = hashlib.sha256()
    frames = _hashed(_frames(path), sha256)
    yield from records.parse_examples(frames, path, manifest.features)
    if sha256.hexdigest() != info.sha256:
        raise contract.DatasetError(
            f"shard {path} is not as it was written: "
            f"{path_flags.command('pipeline.verify', dataset=dataset_dir)} tells how, "
            "and pipeline.prepare restores it"
        )


def _frames(path: str) -> Iterator[bytes]:
    try:
        yield from records.read_frames(path)
    except (OSError, contract.DatasetError) as error:
        raise contract.DatasetError(f"cannot read shard {path}: {error}") from error


def _hashed(frames: Iterable[bytes], sha256: "hashlib._Hash") -> Iterator[bytes]:
    for framed in frames:
        sha256.update(framed)
        yield framed


def check_shards(dataset_dir: str, manifest: contract.Manifest) -> None:
    """Checks that every shard of a dataset is there and has its size.

    Raises:
        DatasetError: If not; the first one is named.
    """
    infos = [info for split in manifest.splits.values() for info in split.shards]
    file_paths = [paths.join(dataset_dir, info.name) for info in infos]
    # In a bucket each takes a request.
    with concurrent.futures.ThreadPoolExecutor(_NUM_REQUESTS) as pool:
        entries = list(pool.map(paths.find, file_paths))
    for info, entry, path in zip(infos, entries, file_paths, strict=True):
        if entry is None or entry.num_bytes != info.num_bytes:
            state = "is missing" if entry is None else f"has {entry.num_bytes} bytes"
            raise contract.DatasetError(
                f"shard {path} {state}, and its manifest says {info.num_bytes} bytes: "
                "run pipeline.prepare again to restore it"
            )


def mark_run(output: str, run_id: str) -> None:
    """Lets workers write shards of a dataset's images, until the claim ends.

    A job that outlives its launcher ends, as it does without its plans in `prepare`.
    """
    paths.write_bytes(_mark_path(output, run_id), b"")


def _mark_path(output: str, run_id: str) -> str:
    return paths.join(output, files.PROGRESS_DIR, f"{run_id}.tmp")
