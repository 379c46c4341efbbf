"""A dataset of latents, made of one of images."""

import uuid
from collections.abc import Sequence

from pipeline import (
    buckets,
    claim,
    command_line,
    contract,
    encoder,
    job,
    latent_shards,
    publish,
    runners,
    storage,
    worker,
)


def encode(
    *,
    model: str,
    dataset_dir: str,
    output: str,
    num_workers: int = 1,
    overwrite: bool = False,
    beam_args: Sequence[str] = (),
    nursery: worker.Nursery | None = None,
) -> contract.Manifest | None:
    """Makes a dataset of latents, or what is missing of it, and returns its manifest.

    Of a job that is detached, None is returned once it is submitted.

    Args:
        model: What `trainer.export` wrote.
        dataset_dir: Images, prepared as those that the model was trained on.
        output: Directory of the latents.
        num_workers: Of the local runner.
        overwrite: Whether to discard a dataset that is in `output`.
        beam_args: Beam's own flags.
        nursery: Of the local runner's workers; else one is made, if it is needed.

    Raises:
        DatasetError: If the model, a dataset, the directory or a flag is not as it
            should be.
    """
    command_line.check_num_workers(num_workers)
    buckets.configure(beam_args)
    export = encoder.read_export(command_line.absolute(model))
    dataset_dir = command_line.absolute(dataset_dir)
    output = command_line.absolute(output)
    if output == dataset_dir:
        raise contract.DatasetError(
            f"--output={output} is the --dataset: give another --output"
        )
    images = storage.load_manifest(dataset_dir)
    encoder.check_images(export, images, dataset_dir)
    settings = latent_shards.Settings(model=export.digest, dataset=images.digest)
    planned = [
        shard for shard, _ in latent_shards.plan_shards(images, settings).values()
    ]
    publication = publish.Publication(
        name=images.name,
        output=output,
        settings=settings,
        source_fingerprint=images.source_fingerprint,
        features=latent_shards.latent_features(images.features, export.latent_dim),
        shard_names=publish.names_by_split(planned),
        num_images=sum(shard.num_images for shard in planned),
        max_rejected_fraction=0.0,
    )
    run_id = uuid.uuid4().hex
    shared = latent_shards.Job(export, dataset_dir, settings, output, run_id)
    with claim.claimed(
        output,
        settings,
        images.source_fingerprint,
        overwrite=overwrite,
        is_detached=runners.is_detached(beam_args),
    ):
        claim.remove_unplanned(output, planned)
        latent_shards.mark_run(output, run_id)
        return command_line.make_missing(
            publication,
            planned,
            job.EncodeShard(shared, beam_args),
            run_id,
            num_workers=num_workers,
            beam_args=beam_args,
            nursery=nursery,
        )
