"""One run of a job that makes a dataset, from its plan to its manifest."""

import dataclasses
import time
import uuid
from collections.abc import Callable, Sequence

import apache_beam as beam
from absl import logging

from pipeline import contract
from pipeline.dataset import output_directory, publishing, reject_limit
from pipeline.jobs import counters, graph, progress, runners, worker
from pipeline.planning.plan import PlannedShard
from pipeline.process import wording
from pipeline.storage import manifests, path_resolution, paths


@dataclasses.dataclass(frozen=True)
class DatasetJob:
    """Where and how a dataset is made; no field changes a byte of the shards.

    Attributes:
        output: Dataset directory, as an absolute path or a URL.
        num_workers: Number of worker processes of the local runner.
        max_rejected_fraction: Largest allowed fraction of rejected images; None for
            the default of `reject_limit`.
        overwrite: Whether to discard a dataset that is in `output`.
        beam_args: Beam's own flags.
        nursery: Nursery for the local runner's workers; None to make one if needed.
        run_id: Id of this run, in the names of its plans and in its sidecars.
    """

    output: str
    num_workers: int = 1
    max_rejected_fraction: float | None = None
    overwrite: bool = False
    beam_args: Sequence[str] = ()
    nursery: worker.Nursery | None = None
    run_id: str = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        """Checks the values, and makes the path absolute.

        Raises:
            DatasetError: If a value is not allowed.
        """
        if self.num_workers < 1:
            raise contract.DatasetError(
                f"num_workers={self.num_workers} must be at least 1"
            )
        given = self.max_rejected_fraction
        if given is not None and not 0 <= given <= 1:
            raise contract.DatasetError(
                f"max_rejected_fraction={given} must be from 0 to 1"
            )
        object.__setattr__(self, "output", path_resolution.absolute(self.output))
        object.__setattr__(self, "run_id", uuid.uuid4().hex)


# Planned shards, and keys of images that the source lists but does not have.
SavedPlans = tuple[Sequence[PlannedShard], Sequence[str]]
SavePlans = Callable[[], SavedPlans]


def make_dataset(
    job: DatasetJob,
    publication: publishing.Publication,
    save_plans: SavePlans,
    make_shard: beam.DoFn,
) -> contract.Manifest | None:
    """Makes a dataset, or the shards that earlier runs left unfinished.

    Args:
        job: Where and how the dataset is made.
        publication: Description of the dataset, without planned shards.
        save_plans: Function that saves the plan of every shard; it is called once the
            output directory is locked.
        make_shard: Beam step that turns the name of a shard into a `ShardResult`.

    Returns:
        The manifest of the complete dataset; None if the job is detached, because its
        last step writes the manifest later.

    Raises:
        DatasetError: If the directory cannot be used, a shard cannot be made, or the
            disk is too small.
    """
    with output_directory.locked(
        job.output,
        publication.settings,
        publication.source_fingerprint,
        run_id=job.run_id,
        overwrite=job.overwrite,
        is_detached=runners.is_detached(job.beam_args),
    ) as locked:
        planned, missing = save_plans()
        publication = publication.with_shards(planned)
        shard_names = [shard.name for shard in planned]
        if job.overwrite:
            reject_limit.check_missing(
                missing, publication.num_images, publication.max_rejected_fraction
            )
            freed = locked.num_bytes_freed()
            progress.check_disk(job.output, planned, publication.features, freed)
        else:
            locked.begin(shard_names)
            results = progress.finished_results(job.output, planned)
            manifest = publishing.complete_manifest(publication, results)
            if manifest is not None:
                num_shards = len(planned)
                logging.info(
                    "kept %d of %d shards: the dataset is already complete",
                    *(num_shards, num_shards),
                )
                return manifest
            progress.check_disk(job.output, planned, publication.features)
            # The dataset is unfinished from here on, so it must have no manifest. Sync
            # the removal: after a loss of power, an old manifest might return and name
            # other shards.
            manifest_path = paths.join(job.output, contract.MANIFEST_NAME)
            paths.remove(manifest_path, is_synced=True)
        return _run(job, locked, publication, planned, make_shard)


def _run(
    job: DatasetJob,
    locked: output_directory.LockedOutput,
    publication: publishing.Publication,
    planned: Sequence[PlannedShard],
    make_shard: beam.DoFn,
) -> contract.Manifest | None:
    """Makes the missing shards and publishes the dataset.

    The job's first step discards a dataset to be overwritten, so a job that does not
    start discards nothing.
    """
    runner = runners.runner_name(job.beam_args)
    if runners.is_distributed(runner) and not paths.is_url(job.output):
        logging.warning(
            "%s: every worker must see the output directory %s and the input files at "
            "the same paths",
            runner,
            job.output,
        )

    def build(pipeline: beam.Pipeline) -> None:
        graph.build_graph(pipeline, locked, make_shard, publication, job.beam_args)

    start_seconds = time.monotonic()
    with progress.ProgressBar(
        job.output,
        planned,
        publication.features,
        job.run_id,
        keeps_earlier=not job.overwrite,
    ):
        runners.run_graph(
            build,
            job.beam_args,
            num_workers=job.num_workers,
            num_images=publication.num_images,
            nursery=job.nursery,
        )
    seconds = time.monotonic() - start_seconds
    if runners.is_detached(job.beam_args):
        manifest_path = paths.join(job.output, contract.MANIFEST_NAME)
        logging.info("job submitted: its last step writes %s", manifest_path)
        return None
    _log_counts(job, planned, seconds)
    return manifests.load(job.output)


def _log_counts(
    job: DatasetJob, planned: Sequence[PlannedShard], seconds: float
) -> None:
    results = progress.finished_results(job.output, planned)
    counts = counters.count(results, job.run_id)
    num_images = counts["images_read"]
    if counts["shards_kept"]:
        logging.info("kept %d of %d shards", counts["shards_kept"], len(planned))
    logging.info("%s", counters.summary(counts))
    num_rejects = sum(len(result.rejects) for result in results)
    if num_rejects:
        logging.info(
            "rejected %s: %s has the names and reasons",
            wording.counted(num_rejects, "image"),
            paths.join(job.output, contract.REJECTED_NAME),
        )
    if num_images:
        logging.info(
            "%s in %.1f s, %.0f images/s",
            wording.counted(num_images, "image"),
            *(seconds, num_images / seconds),
        )
