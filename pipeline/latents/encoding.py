"""A dataset of latents, made of one of images, or of raw images."""

import dataclasses
import uuid
from collections.abc import Mapping, Sequence

from pipeline import contract, sources
from pipeline.dataset import output_directory, publishing
from pipeline.dataset.second_look import SecondLook
from pipeline.images import user_function
from pipeline.jobs import making, runners, worker
from pipeline.latents import encoder, latent_images, latent_plan, latent_shards
from pipeline.planning import dataset_settings, plan, plan_files
from pipeline.storage import buckets, paths


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
    making.check_num_workers(num_workers)
    buckets.configure(beam_args)
    model = making.absolute(model)
    dataset_dir = making.absolute(dataset_dir)
    output = making.absolute(output)
    output_directory.check_apart(output, {"--dataset": dataset_dir, "--model": model})
    export = encoder.read_export(model)
    images = paths.load_manifest(dataset_dir)
    encoder.check_images(
        export,
        images.settings,
        images.features,
        images.image_shape[2],
        f"--dataset={dataset_dir}",
    )
    if overwrite:
        latent_images.check_shards(dataset_dir, images)
        encoder.check_loads(export)
    settings = latent_plan.Settings(model=export.digest, images=images.digest)
    planned = [shard for shard, _ in latent_plan.of_dataset(images, settings).values()]
    run_id = uuid.uuid4().hex
    found = latent_images.DatasetImages(dataset_dir, settings)
    shared = latent_shards.Job(export, found, output, run_id)
    with output_directory.claimed(
        output,
        settings,
        images.source_fingerprint,
        overwrite=overwrite,
        is_detached=runners.is_detached(beam_args),
    ) as held:
        latent_images.mark_run(output, run_id)
        return making.make_missing(
            held,
            _publication(
                images.name,
                shared,
                settings,
                images.source_fingerprint,
                images.features,
                planned,
            ),
            planned,
            latent_shards.EncodeShard(shared, beam_args),
            run_id,
            num_workers=num_workers,
            beam_args=beam_args,
            nursery=nursery,
        )


def encode_raw(
    images: dataset_settings.Settings,
    *,
    model: str,
    input_dir: str,
    output: str,
    num_workers: int = 1,
    max_rejected_fraction: float = 0.001,
    overwrite: bool = False,
    beam_args: Sequence[str] = (),
    nursery: worker.Nursery | None = None,
) -> contract.Manifest | None:
    """Makes of raw images the latents that a dataset of them would have.

    Of a job that is detached, None is returned once it is submitted.

    The shards are those that `encode` would write for what `prepare` would, byte for
    byte, and no image is stored in between.

    Args:
        images: What a dataset of them would be made with; but how they are made is
            taken from the model, whose function `preprocess` has to repeat.
        model: What `trainer.export` wrote.
        input_dir: The source's files.
        output: Directory of the latents.
        num_workers: Of the local runner.
        max_rejected_fraction: More of the images rejected is an error.
        overwrite: Whether to discard a dataset that is in `output`.
        beam_args: Beam's own flags.
        nursery: Of the local runner's workers; else one is made, if it is needed.

    Raises:
        DatasetError: If the model, the source, the directory or a flag is not as it
            should be.
    """
    making.check_num_workers(num_workers)
    making.check_fraction(max_rejected_fraction)
    buckets.configure(beam_args)
    model = making.absolute(model)
    input_dir = making.absolute(input_dir)
    output = making.absolute(output)
    output_directory.check_apart(output, {"--input": input_dir, "--model": model})
    export = encoder.read_export(model)
    how_made = encoder.image_settings(export, images.preprocess)
    images = dataclasses.replace(images, **how_made)
    if images.preprocess is not None:
        user_function.load(images.preprocess)
    listing = sources.list_images(images.source, input_dir, images.to_dict())
    # The source may have chosen them.
    images = dataclasses.replace(images, split_fractions=listing.split_fractions)
    features = publishing.image_features(listing, images)
    encoder.check_images(
        export,
        images.to_dict(),
        features,
        listing.num_channels,
        f"--input={input_dir}",
    )
    if overwrite:
        encoder.check_loads(export)
    settings = latent_plan.Settings(model=export.digest, images=images)
    plans = latent_plan.of_source(listing, images, settings)
    run_id = uuid.uuid4().hex
    found = latent_images.RawImages(images, listing.reader, features)
    look = SecondLook(images, listing.reader, output, run_id)
    shared = latent_shards.Job(export, found, output, run_id, look)
    with output_directory.claimed(
        output,
        settings,
        listing.fingerprint,
        overwrite=overwrite,
        is_detached=runners.is_detached(beam_args),
    ) as held:
        planned, missing = plan_files.save_plans(plans, output, run_id)
        publication = _publication(
            listing.name,
            shared,
            settings,
            listing.fingerprint,
            features,
            planned,
            max_rejected_fraction,
        )
        if overwrite:
            publishing.check_missing(publication, missing)
        return making.make_missing(
            held,
            publication,
            planned,
            latent_shards.EncodeShard(shared, beam_args),
            run_id,
            num_workers=num_workers,
            beam_args=beam_args,
            nursery=nursery,
        )


def _publication(
    name: str,
    shared: latent_shards.Job,
    settings: latent_plan.Settings,
    source_fingerprint: str,
    features: Mapping[str, contract.Feature],
    planned: Sequence[plan.PlannedShard],
    max_rejected_fraction: float = 0.0,
) -> publishing.Publication:
    return publishing.Publication(
        name=name,
        output=shared.output,
        settings=settings,
        source_fingerprint=source_fingerprint,
        features=latent_plan.latent_features(features, shared.export.latent_dim),
        shard_names=publishing.names_by_split(planned),
        num_images=sum(shard.num_images for shard in planned),
        max_rejected_fraction=max_rejected_fraction,
        second_look=shared.second_look,
    )
