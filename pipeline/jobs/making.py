"""What is missing of a dataset is made: the job, from its plan to its manifest."""

import contextlib
import os
import time
from collections.abc import Sequence

import apache_beam as beam
from absl import logging

from pipeline import contract
from pipeline.dataset import output_directory, publishing
from pipeline.jobs import counters, graph, progress, runners, worker
from pipeline.planning.plan import PlannedShard
from pipeline.storage import paths


def make_missing(
    held: output_directory.Claim,
    publication: publishing.Publication,
    planned: Sequence[PlannedShard],
    make_shard: beam.DoFn,
    run_id: str,
    *,
    num_workers: int,
    beam_args: Sequence[str],
    nursery: worker.Nursery | None,
) -> contract.Manifest | None:
    """Makes what is missing of a dataset, in a directory that is claimed.

    A dataset that is to be overwritten is discarded once the disk and Beam's flags are
    checked, and the server of a runner has taken the job.

    Args:
        held: The directory.
        publication: Of the dataset.
        planned: Its shards.
        make_shard: From a name to a `ShardResult`.
        run_id: That `make_shard` gives what it writes.
        num_workers: Of the local runner.
        beam_args: Beam's own flags.
        nursery: Of the local runner's workers; else one is made, if it is needed.

    Returns:
        The manifest of the complete dataset; None if the job is detached, whose last
        step writes it.

    Raises:
        DatasetError: If a shard cannot be made, or the disk is too small.
    """
    output = publication.output
    if held.overwrite:
        freed = held.num_bytes_freed()
        progress.check_disk(output, planned, publication.features, freed)
    else:
        held.begin(planned)
        results = progress.finished_results(output, planned)
        manifest = publishing.complete_manifest(publication, results)
        if manifest is not None:
            logging.info("kept %d of %d shards: complete", len(planned), len(planned))
            return manifest
        progress.check_disk(output, planned, publication.features)
    runner = runners.runner_name(beam_args)
    if runners.is_distributed(runner) and not paths.is_url(output):
        logging.warning(
            "%s: every worker must see --output=%s, and what it reads, at the same "
            "path",
            runner,
            output,
        )
    names = [shard.name for shard in planned]
    start_seconds = time.monotonic()
    with contextlib.ExitStack() as stack:

        def build(pipeline: beam.Pipeline) -> None:
            graph.build_graph(pipeline, names, make_shard, publication, beam_args)

        def begin() -> None:
            if held.overwrite:
                held.begin(planned)
            # A dataset without its manifest is seen as unfinished, and it is from here.
            # After a loss of power, too: or a manifest might be back that names other
            # shards.
            path = paths.join(output, contract.MANIFEST_NAME)
            paths.remove(path, is_synced=True)
            stack.enter_context(progress.ProgressBar(output, planned, run_id))

        runners.run_graph(
            build,
            beam_args,
            num_workers=num_workers,
            num_images=publication.num_images,
            begin=begin,
            nursery=nursery,
        )
    seconds = time.monotonic() - start_seconds
    if runners.is_detached(beam_args):
        logging.info(
            "submitted: the job's last step writes %s",
            paths.join(output, contract.MANIFEST_NAME),
        )
        return None
    counts = counters.count(progress.finished_results(output, planned), run_id)
    num_images = counts["images_read"]
    logging.info("kept %d of %d shards", counts["shards_kept"], len(planned))
    logging.info("%s", counters.summary(counts))
    logging.info(
        "%d images in %.1f s, %.0f img/s", num_images, seconds, num_images / seconds
    )
    return paths.load_manifest(output)


def absolute(path: str) -> str:
    """Returns a path for any worker, whose directory may be another than ours."""
    return path.rstrip("/") if paths.is_url(path) else os.path.abspath(path)


def check_num_workers(num_workers: int) -> None:
    """Checks a flag.

    Raises:
        DatasetError: If it is less than 1.
    """
    if num_workers < 1:
        raise contract.DatasetError(f"--num_workers={num_workers} must be at least 1")


def check_fraction(max_rejected_fraction: float) -> None:
    """Checks a flag.

    Raises:
        DatasetError: If it is not from 0 to 1.
    """
    if not 0 <= max_rejected_fraction <= 1:
        raise contract.DatasetError(
            f"--max_rejected_fraction={max_rejected_fraction} must be from 0 to 1"
        )
