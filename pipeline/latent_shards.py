"""One shard of latents: of the images of one shard, in the same order.

What is planned follows from the manifest of the images, which a worker reads itself:

    OUT/NAME-SPLIT.tfrecord-00003-of-00064    the latents of DATASET's shard of the name
    OUT/.progress/<run_id>.tmp                there while a run lasts
"""

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from pipeline import contract, encoder, files, records, shards, storage
from pipeline.plan import PlannedShard

# Its rounding depends on it, so that it is a setting; batches begin with a shard.
BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides the latents.

    Attributes:
        model: Digest of the model.
        dataset: Digest of the dataset of images.
    """

    model: str
    dataset: str

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as the manifest holds them."""
        return {**dataclasses.asdict(self), "batch_size": BATCH_SIZE}


@dataclasses.dataclass(frozen=True)
class Job:
    """What all shards have in common.

    Attributes:
        export: Of the model.
        dataset_dir: Where the images are.
        settings: Of the latents.
        output: Where they go.
        run_id: Marks the shards that this run writes.
    """

    export: encoder.Export
    dataset_dir: str
    settings: Settings
    output: str
    run_id: str


def plan_shards(
    manifest: contract.Manifest, settings: Settings
) -> dict[str, tuple[PlannedShard, contract.ShardInfo]]:
    """Returns by name each shard of latents, and the shard of images that it is of.

    Example:
        >>> image = contract.Feature("uint8", (1, 1, 1))
        >>> info = contract.ShardInfo("d-test.tfrecord-00000-of-00001", 2, 99, "ab")
        >>> splits = {"test": contract.SplitInfo((info,))}
        >>> manifest = contract.Manifest("d", {}, "", {"image": image}, splits)
        >>> found = plan_shards(manifest, Settings("model", manifest.digest))
        >>> [planned.num_images for planned, _ in found.values()]
        [2]
    """
    return {
        info.name: (_planned(split, index, info, settings), info)
        for split, found in manifest.splits.items()
        for index, info in enumerate(found.shards)
    }


def _planned(
    split: str, index: int, info: contract.ShardInfo, settings: Settings
) -> PlannedShard:
    header = {
        "schema_version": contract.SCHEMA_VERSION,
        "settings": settings.to_dict(),
        "images": dataclasses.asdict(info),
    }
    text = json.dumps(header, sort_keys=True)
    fingerprint = hashlib.sha256(text.encode()).hexdigest()
    return PlannedShard(info.name, split, index, info.num_examples, fingerprint)


def latent_features(
    features: Mapping[str, contract.Feature], latent_dim: int
) -> dict[str, contract.Feature]:
    """Returns the features of a record, whose integers are those of the image's."""
    latents = contract.Feature("float32", (latent_dim,))
    return {
        "key": features["key"],
        **dict.fromkeys(contract.LATENTS, latents),
        **{name: found for name, found in features.items() if found.dtype == "int64"},
    }


def make_shard(job: Job, name: str) -> shards.ShardResult:
    """Returns the shard of a name: kept if it is whole, else written.

    Raises:
        DatasetError: If the run has ended; the images or the model cannot be read; a
            posterior is not finite; or the disk is full.
    """
    if storage.find(_mark_path(job.output, job.run_id)) is None:
        raise contract.DatasetError(
            f"a worker does not see the run in {job.output}: every worker must see "
            "--output at the same path, and no later run may be at work in it"
        )
    manifest, planned = _read_plan(job.dataset_dir, job.settings)
    shard, images = planned[name]
    kept = shards.find_intact(shard, job.output)
    if kept is not None:
        return kept
    return shards.write_shard(
        shard, _encode_records(job, manifest, images), job.output, job.run_id
    )


@functools.lru_cache(maxsize=1)
def _read_plan(
    dataset_dir: str, settings: Settings
) -> tuple[contract.Manifest, dict[str, tuple[PlannedShard, contract.ShardInfo]]]:
    manifest = storage.load_manifest(dataset_dir)
    if manifest.digest != settings.dataset:
        raise contract.DatasetError(
            f"--dataset={dataset_dir} is another one where a worker looks "
            f"({manifest.digest} instead of {settings.dataset}): every worker must see "
            "it at the same path"
        )
    return manifest, plan_shards(manifest, settings)


def _encode_records(
    job: Job, manifest: contract.Manifest, info: contract.ShardInfo
) -> Iterator[bytes]:
    """Yields the record of each image of a shard."""
    export = job.export
    encode = encoder.load(export.path, export.digest, export.condition)
    path = storage.join(job.dataset_dir, info.name)
    sha256 = hashlib.sha256()
    frames = _hashed(_frames(path), sha256)
    examples = records.parse_examples(frames, path, manifest.features)
    while batch := list(itertools.islice(examples, BATCH_SIZE)):
        images = np.stack([_to_image(stored) for _, stored, _ in batch])
        mean, log_var = encode(images, _told(batch, manifest, export.condition))
        for (key, _, labels), *latents in zip(batch, mean, log_var, strict=True):
            if not np.isfinite(latents).all():
                raise contract.DatasetError(
                    f"--model={export.path} gives image {key} a posterior that is not "
                    "finite: export another checkpoint"
                )
            arrays: dict[str, np.ndarray] = dict(
                zip(contract.LATENTS, latents, strict=True)
            )
            yield records.encode_record(key, arrays, labels)
    if sha256.hexdigest() != info.sha256:
        raise contract.DatasetError(
            f"shard {path} is not as it was written: python -m pipeline.verify "
            f"--dataset={job.dataset_dir} tells how, and pipeline.prepare restores it"
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


def _to_image(stored: np.ndarray) -> np.ndarray:
    """Returns stored values as float32 in [-1, 1]."""
    scale, offset = contract.IMAGE_DTYPES[stored.dtype.name]
    image = stored.astype(np.float32)
    return image if (scale, offset) == (1.0, 0.0) else image * scale + offset


def _told(
    batch: list[tuple[str, np.ndarray, dict[str, list[int]]]],
    manifest: contract.Manifest,
    condition: str | None,
) -> np.ndarray | None:
    if condition is None:
        return None
    shape = manifest.features[condition].shape
    values = [labels[condition] for _, _, labels in batch]
    return np.array(values, np.int64).reshape(len(batch), *shape)


def mark_run(output: str, run_id: str) -> None:
    """Lets workers write shards, until the claim of the directory ends.

    A job that outlives its launcher ends, as it does without its plans in `prepare`.
    """
    storage.write_bytes(_mark_path(output, run_id), b"")


def _mark_path(output: str, run_id: str) -> str:
    return storage.join(output, files.PROGRESS_DIR, f"{run_id}.tmp")
