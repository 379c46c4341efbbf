"""Makes a dataset of latents, from a dataset of images or from raw images."""

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
    """Makes a dataset of latents, or its missing shards, and returns its manifest.

    For a detached job, returns None once the job is submitted.

    Args:
        job: Output directory and execution of the job.
        model: Directory that `trainer.export` wrote.
        dataset_dir: Dataset of images, prepared like the images that the model was
            trained on.

    Raises:
        DatasetError: If the model, a dataset, the directory or an argument is unusable.
    """
    dataset_dir, export = _check_inputs(job, model, "dataset", dataset_dir)
    images = manifests.load(dataset_dir)
    export_description.check_images(
        export,
        images.settings,
        images.features,
        images.image_shape[2],
        f"dataset={dataset_dir}",
    )
    if job.overwrite:
        latent_images.check_shards(dataset_dir, images)
        encoder.check_loads(export)
    settings = latent_plan.Settings(model=export.digest, images=images.digest)
    planned = [shard for shard, _ in latent_plan.of_dataset(images, settings).values()]

    def save_plans() -> dataset_job.SavedPlans:
        # A worker plans its shard again, from the manifest of the images.
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
    """Makes a dataset of latents directly from raw images, and returns its manifest.

    For a detached job, returns None once the job is submitted.

    The shards equal, byte for byte, the output of `prepare` followed by `encode`, but
    no image is stored in between.

    Args:
        images: Settings for a dataset of the images. The export replaces the settings
            of the preprocessing, but `preprocess` must name the export's function.
        job: Output directory and execution of the job.
        model: Directory that `trainer.export` wrote.
        input_dir: Directory, file or pattern of the source.

    Raises:
        DatasetError: If the model, the source, the directory or an argument is
            unusable.
    """
    input_dir, export = _check_inputs(job, model, "input", input_dir)
    image_settings = export_description.image_settings(export, images.preprocess)
    images = dataclasses.replace(images, **image_settings)
    listing, images = preparing.list_images(images, input_dir)
    features = publishing.image_features(listing, images)
    export_description.check_images(
        export,
        images.to_dict(),
        features,
        listing.num_channels,
        f"input={input_dir}",
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


def _check_inputs(
    job: dataset_job.DatasetJob, model: str, argument: str, path: str
) -> tuple[str, export_description.Export]:
    """Checks that a job's output contains no input, and reads the export.

    Args:
        job: Output directory and execution of the job.
        model: Directory that `trainer.export` wrote.
        argument: Argument of the images.
        path: Directory of the images.

    Returns:
        The absolute path of the images, and the export.

    Raises:
        DatasetError: If the output is or contains an input, or the model is unusable.
    """
    buckets.configure(job.beam_args)
    model, path = path_resolution.absolute(model), path_resolution.absolute(path)
    output_directory.check_apart(job.output, {argument: path, "model": model})
    return path, export_description.read_export(model)


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
