"""A dataset of latents, made of one of images, or of raw images."""

import dataclasses
import functools

from pipeline import contract
from pipeline.dataset import output_directory, publishing
from pipeline.dataset.reject_check import RejectCheck
from pipeline.jobs import dataset_job, preparing
from pipeline.latents import (
    encoder,
    export_description,
    latent_images,
    latent_plan,
    latent_shards,
)
from pipeline.planning import dataset_settings, plan_files
from pipeline.storage import buckets, manifests, path_resolution


def encode(
    job: dataset_job.DatasetJob, *, model: str, dataset_dir: str
) -> contract.Manifest | None:
    """Makes a dataset of latents, or what is missing of it, and returns its manifest.

    Of a job that is detached, None is returned once it is submitted.

    Args:
        job: Where and how it is made.
        model: What `trainer.export` wrote.
        dataset_dir: Images, prepared as those that the model was trained on.

    Raises:
        DatasetError: If the model, a dataset, the directory or a flag is not as it
            should be.
    """
    buckets.configure(job.beam_args)
    model = path_resolution.absolute(model)
    dataset_dir = path_resolution.absolute(dataset_dir)
    inputs = {"--dataset": dataset_dir, "--model": model}
    output_directory.check_apart(job.output, inputs)
    export = export_description.read_export(model)
    images = manifests.load(dataset_dir)
    export_description.check_images(
        export,
        images.settings,
        images.features,
        images.image_shape[2],
        f"--dataset={dataset_dir}",
    )
    if job.overwrite:
        latent_images.check_shards(dataset_dir, images)
        encoder.check_loads(export)
    settings = latent_plan.Settings(model=export.digest, images=images.digest)
    planned = [shard for shard, _ in latent_plan.of_dataset(images, settings).values()]

    def save_plans() -> dataset_job.SavedPlans:
        # A worker plans the shard again, from the manifest of the images.
        latent_images.mark_run(job.output, job.run_id)
        return planned, []

    return _make_dataset(
        job,
        publishing.Publication(
            name=images.name,
            output=job.output,
            settings=settings,
            source_fingerprint=images.source_fingerprint,
            features=latent_plan.latent_features(images.features, export.latent_dim),
            max_rejected_fraction=0.0,
        ),
        save_plans,
        export,
        latent_images.DatasetImages(dataset_dir, settings),
    )


def encode_raw(
    images: dataset_settings.Settings,
    job: dataset_job.DatasetJob,
    *,
    model: str,
    input_dir: str,
) -> contract.Manifest | None:
    """Makes of raw images the latents that a dataset of them would have.

    Of a job that is detached, None is returned once it is submitted.

    The shards are those that `encode` would write for what `prepare` would, byte for
    byte, and no image is stored in between.

    Args:
        images: What a dataset of them would be made with; but how they are made is
            taken from the model, whose function `preprocess` has to repeat.
        job: Where and how the latents are made.
        model: What `trainer.export` wrote.
        input_dir: The source's files.

    Raises:
        DatasetError: If the model, the source, the directory or a flag is not as it
            should be.
    """
    buckets.configure(job.beam_args)
    model = path_resolution.absolute(model)
    input_dir = path_resolution.absolute(input_dir)
    inputs = {"--input": input_dir, "--model": model}
    output_directory.check_apart(job.output, inputs)
    export = export_description.read_export(model)
    image_settings = export_description.image_settings(export, images.preprocess)
    images = dataclasses.replace(images, **image_settings)
    listing, images = preparing.list_images(images, input_dir)
    features = publishing.image_features(listing, images)
    export_description.check_images(
        export,
        images.to_dict(),
        features,
        listing.num_channels,
        f"--input={input_dir}",
    )
    if job.overwrite:
        encoder.check_loads(export)
    settings = latent_plan.Settings(model=export.digest, images=images)
    plans = latent_plan.of_source(listing, images, settings)
    return _make_dataset(
        job,
        publishing.Publication(
            name=listing.name,
            output=job.output,
            settings=settings,
            source_fingerprint=listing.fingerprint,
            features=latent_plan.latent_features(features, export.latent_dim),
            max_rejected_fraction=job.max_rejected_fraction,
            reject_check=RejectCheck(images, listing.reader, job.output, job.run_id),
        ),
        functools.partial(plan_files.save_plans, plans, job.output, job.run_id),
        export,
        latent_images.RawImages(images, listing.reader, features),
    )


def _make_dataset(
    job: dataset_job.DatasetJob,
    publication: publishing.Publication,
    save_plans: dataset_job.SavePlans,
    export: export_description.Export,
    images: latent_images.Images,
) -> contract.Manifest | None:
    shared = latent_shards.EncodeJob(
        export, images, job.output, job.run_id, publication.reject_check
    )
    make_shard = latent_shards.EncodeShard(shared, job.beam_args)
    return dataset_job.make_dataset(job, publication, save_plans, make_shard)
