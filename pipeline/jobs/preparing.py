"""A dataset of images, made of a source of raw ones."""

import dataclasses
import uuid
from collections.abc import Sequence

from pipeline import contract, sources
from pipeline.dataset import output_directory, publishing
from pipeline.images import user_function
from pipeline.jobs import graph, making, runners, worker
from pipeline.planning import plan, plan_files
from pipeline.planning.dataset_settings import Settings
from pipeline.storage import buckets


def prepare(
    settings: Settings,
    *,
    input_dir: str,
    output: str,
    num_workers: int = 1,
    max_rejected_fraction: float = 0.001,
    overwrite: bool = False,
    with_stats: bool = False,
    beam_args: Sequence[str] = (),
    nursery: worker.Nursery | None = None,
) -> contract.Manifest | None:
    """Makes a dataset, or what is missing of it, and returns its manifest.

    Of a job that is detached, None is returned once it is submitted.

    Args:
        settings: What decides its content.
        input_dir: The source's files.
        output: Dataset directory.
        num_workers: Of the local runner.
        max_rejected_fraction: More of the images rejected is an error.
        overwrite: Whether to discard a dataset that is in `output`.
        with_stats: Whether to write `stats.json` and `overview.png` too.
        beam_args: Beam's own flags.
        nursery: Of the local runner's workers; else one is made, if it is needed.

    Raises:
        DatasetError: If the source, the directory or a flag is not as it should be.
    """
    making.check_num_workers(num_workers)
    making.check_fraction(max_rejected_fraction)
    buckets.configure(beam_args)
    input_dir = making.absolute(input_dir)
    output = making.absolute(output)
    output_directory.check_apart(output, {"--input": input_dir})
    if settings.preprocess is not None:
        user_function.load(settings.preprocess)
    listing = sources.list_images(settings.source, input_dir, settings.to_dict())
    # The source may have chosen them.
    settings = dataclasses.replace(settings, split_fractions=listing.split_fractions)
    plans = plan.shard_plans(listing, settings)
    run_id = uuid.uuid4().hex
    with output_directory.claimed(
        output,
        settings,
        listing.fingerprint,
        overwrite=overwrite,
        is_detached=runners.is_detached(beam_args),
    ) as held:
        planned, missing = plan_files.save_plans(plans, output, run_id)
        publication = publishing.plan_publication(
            listing,
            planned,
            settings,
            output,
            max_rejected_fraction,
            run_id,
            with_stats=with_stats,
        )
        if overwrite:
            publishing.check_missing(publication, missing)
        return making.make_missing(
            held,
            publication,
            planned,
            graph.MakeShard(publication, settings, listing.reader, run_id, beam_args),
            run_id,
            num_workers=num_workers,
            beam_args=beam_args,
            nursery=nursery,
        )
