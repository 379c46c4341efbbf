"""Makes one shard of latents from one shard of images, in the same order."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pipeline import contract
from pipeline.dataset import shards
from pipeline.dataset.reject_check import RejectCheck, find_unconfirmed
from pipeline.formats import records
from pipeline.jobs import counters, graph
from pipeline.latents import encoder, export_description, latent_images, latent_plan


@dataclasses.dataclass(frozen=True)
class EncodeJob:
    """The values that all shards share.

    Attributes:
        export: Description of the model.
        images: Images to encode.
        output: Directory of the latents.
        run_id: ID of this run, recorded in the sidecars that it writes.
        reject_check: Confirms rejects; None if no image can be rejected.
    """

    export: export_description.Export
    images: latent_images.Images
    output: str
    run_id: str
    reject_check: RejectCheck | None = None


def make_shard(job: EncodeJob, name: str) -> shards.ShardResult:
    """Keeps the named shard if it is intact, else writes it; returns its result.

    Raises:
        DatasetError: If the run has ended, the images or the model cannot be read, a
            posterior is not finite, or the disk is full.
    """
    images = job.images.open(job.output, name, job.run_id)
    finished = shards.find_intact(images.planned, job.output)
    if finished is not None and not find_unconfirmed(job.reject_check, [finished]):
        return finished
    return shards.write_shard(
        images.planned,
        _encode_records(job.export, images),
        job.output,
        job.run_id,
        images.rejects,
    )


def _encode_records(
    export: export_description.Export, images: latent_images.ImageShard
) -> Iterator[list[records.Part]]:
    """Yields the parts of each record of a shard."""
    encode = encoder.load(export.path, export.digest, export.condition)
    while batch := list(itertools.islice(images.examples, latent_plan.BATCH_SIZE)):
        stored = np.stack([_to_image(stored) for _, stored, _ in batch])
        mean, log_var = encode(stored, _conditions(batch, images.features, export))
        for (key, _, labels), *latents in zip(batch, mean, log_var, strict=True):
            if not np.isfinite(latents).all():
                raise contract.DatasetError(
                    f"model={export.path} gives image {key} a posterior that is not "
                    "finite: export another checkpoint"
                )
            arrays: dict[str, np.ndarray] = dict(
                zip(contract.LATENTS, latents, strict=True)
            )
            yield records.encode_record(key, arrays, labels)


def _to_image(stored: np.ndarray) -> np.ndarray:
    """Returns stored values as float32 in [-1, 1]."""
    scale, offset = contract.IMAGE_DTYPES[stored.dtype.name]
    image = stored.astype(np.float32)
    return image if (scale, offset) == (1.0, 0.0) else image * scale + offset


def _conditions(
    batch: Sequence[records.Example],
    features: Mapping[str, contract.Feature],
    export: export_description.Export,
) -> np.ndarray | None:
    condition = export.condition
    if condition is None:
        return None
    values = [labels[condition] for _, _, labels in batch]
    if export.num_classes is not None:
        contract.check_labels(
            int(np.min(values)),
            int(np.max(values)),
            export.num_classes,
            are_all_known=export.are_all_known,
        )
    return np.array(values, np.int64).reshape(len(batch), *features[condition].shape)


class EncodeShard(graph.Step):
    """Makes a shard of latents from a shard of images, and yields its result."""

    def __init__(self, job: EncodeJob, beam_args: Sequence[str]) -> None:
        """Keeps the values that all shards share."""
        super().__init__(beam_args)
        self._job = job

    def process(self, element: str) -> Iterator[shards.ShardResult]:
        """Yields the result of the named shard, which is kept or written."""
        result = make_shard(self._job, element)
        counters.report(result, self._job.run_id)
        yield result
