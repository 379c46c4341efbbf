"""Makes a dataset of images from a source of raw images."""

import dataclasses
import functools

from pipeline import contract, sources
from pipeline.dataset import output_directory, publishing
from pipeline.dataset.reject_check import RejectCheck
from pipeline.images import user_function
from pipeline.jobs import dataset_job, graph
from pipeline.planning import plan, plan_files
from pipeline.planning.dataset_settings import Settings
from pipeline.storage import buckets


def prepare(
    settings: Settings,
    job: dataset_job.DatasetJob,
    *,
    input_dir: str,
    with_stats: bool = False,
    download: bool = False,
) -> contract.Manifest | None:
    """Makes a dataset, or its missing shards, and returns its manifest.

    For a detached job, returns None once the job is submitted.

    Args:
        settings: Settings that decide the content of the dataset.
        job: Where and how the dataset is made.
        input_dir: Directory, file or pattern of the source; for the source `tfds` also
            the name of a data set.
        with_stats: Whether to write `stats.json` and `overview.png`, too.
        download: Whether TensorFlow Datasets prepares a data set that is absent.

    Raises:
        DatasetError: If the source, the directory or an argument is invalid.
    """
    buckets.configure(job.beam_args)
    input_dir = sources.locate(settings.source, input_dir, download=download)
    output_directory.check_apart(job.output, {"input": input_dir})
    listing, settings = list_images(settings, input_dir)
    publication = publishing.Publication(
        name=listing.name,
        output=job.output,
        settings=settings,
        source_fingerprint=listing.fingerprint,
        features=publishing.image_features(listing, settings),
        max_rejected_fraction=job.max_rejected_fraction,
        with_stats=with_stats,
        reject_check=RejectCheck(settings, listing.reader, job.output, job.run_id),
    )
    plans = plan.shard_plans(listing, settings)
    return dataset_job.make_dataset(
        job,
        publication,
        functools.partial(plan_files.save_plans, plans, job.output, job.run_id),
        graph.MakeShard(
            publication, settings, listing.reader, job.run_id, job.beam_args
        ),
    )


def list_images(settings: Settings, input_dir: str) -> tuple[sources.Listing, Settings]:
    """Lists the images of a source.

    Args:
        settings: Settings for listing and preprocessing the images.
        input_dir: Directory, file or pattern of the source.

    Returns:
        The listing, and the settings with the splits that the source chose.

    Raises:
        DatasetError: If the source or the user's function is invalid.
    """
    if settings.preprocess is not None:
        user_function.load(settings.preprocess)
    listing = sources.list_images(settings.source, input_dir, settings.to_dict())
    return listing, dataclasses.replace(
        settings,
        split_fractions=listing.split_fractions,
        validation_images=listing.validation_images,
    )
