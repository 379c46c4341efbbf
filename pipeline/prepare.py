"""Prepares a dataset: raw images to verified TFRecord shards, on any Beam runner.

    python -m pipeline.prepare --input=CELEBA_DIR --output=DATASET_DIR

Beam's own flags pass through: --runner=FlinkRunner --parallelism=8. A run that was
killed is continued by the same command.
"""

import contextlib
import dataclasses
import logging as python_logging
import os
import sys
import time
import uuid
from collections.abc import Sequence

from absl import app, flags, logging

# Beam logs without a name that it lacks a client of BigQuery, and each error of a job,
# which the exception has.
python_logging.getLogger().addFilter(
    lambda record: "apache_beam" not in record.pathname
)

from pipeline import (  # noqa: E402
    buckets,
    claim,
    contract,
    job,
    local_runner,
    plan,
    plan_files,
    progress,
    publish,
    resizing,
    runners,
    sources,
    storage,
    user_function,
    worker,
)

EXIT_INTERRUPTED = 130

_DEFAULTS = plan.Settings()

_INPUT = flags.DEFINE_string(
    "input",
    None,
    "The source's directory or file, local or at s3:// or gs://; of a folder also a "
    "pattern.",
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Dataset directory to make, local or at s3:// or gs://."
)
_SOURCE = flags.DEFINE_string(
    "source", _DEFAULTS.source, f"What --input is: {', '.join(sources.SOURCES)}."
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    None,
    "Side of the square images in pixels; unless given, "
    + ", ".join(f"{found.image_size} for {n}" for n, found in sources.SOURCES.items())
    + ".",
)
_IMAGE_DTYPE = flags.DEFINE_string(
    "image_dtype",
    _DEFAULTS.image_dtype,
    f"Storage type of the images: {', '.join(contract.IMAGE_DTYPES)}.",
)
_SHARD_SIZE = flags.DEFINE_integer(
    "shard_size", _DEFAULTS.shard_size, "Most images in a shard."
)
_SEED = flags.DEFINE_integer(
    "seed", _DEFAULTS.seed, "Seed of the images' order, and of splits by fractions."
)
_RESIZE = flags.DEFINE_string(
    "resize",
    _DEFAULTS.resize,
    f"Filter: {', '.join(resizing.RESIZES)} (TensorFlow 1's, without antialiasing).",
)
_CROP_SIZE = flags.DEFINE_integer(
    "crop_size",
    _DEFAULTS.crop_size,
    "Side in pixels of the square cut from the centre; 0 for the short side.",
)
_SPLIT_FRACTIONS = flags.DEFINE_string(
    "split_fractions",
    None,
    f"Of the images, for {', '.join(contract.SPLITS)}; unless given, "
    "0.8,0.1,0.1, or the splits that the source has.",
)
_DEDUPLICATE = flags.DEFINE_bool(
    "deduplicate", False, "Use only the first of a folder's files of one content."
)
_PREPROCESS = flags.DEFINE_string(
    "preprocess",
    None,
    "Your own function, PACKAGE.MODULE:FUNCTION, on the pixels of every image before "
    "the crop: [height, width, channels] uint8 to the same.",
)
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers",
    runners.num_cores(),
    "Worker processes of the local runner; it uses its own alone for fewer than "
    f"{local_runner.PROCESSES_FROM_IMAGES} images.",
)
_MAX_REJECTED_FRACTION = flags.DEFINE_float(
    "max_rejected_fraction",
    0.001,
    "More than this part of the images rejected is an error.",
)
_STATS = flags.DEFINE_bool(
    "stats", False, "Write stats.json (brightness, labels) and overview.png, too."
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Discard a dataset that is in --output."
)


def prepare(
    settings: plan.Settings,
    *,
    input_dir: str,
    output: str,
    num_workers: int = 1,
    max_rejected_fraction: float = 0.001,
    overwrite: bool = False,
    with_stats: bool = False,
    beam_args: Sequence[str] = (),
    nursery: worker.Nursery | None = None,
) -> contract.Manifest:
    """Makes a dataset, or what is missing of it, and returns its manifest.

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
    _check_flags(num_workers, max_rejected_fraction)
    buckets.configure(beam_args)
    input_dir, output = _absolute(input_dir), _absolute(output)
    if settings.preprocess is not None:
        user_function.load(settings.preprocess)
    listing = sources.list_images(settings.source, input_dir, settings.to_dict())
    # The source may have chosen them.
    settings = dataclasses.replace(settings, split_fractions=listing.split_fractions)
    plans = plan.shard_plans(listing, settings)
    run_id = uuid.uuid4().hex
    with claim.claimed(output, settings, listing.fingerprint, overwrite=overwrite):
        planned = [
            plan_files.save_plan(shard_plan, output, run_id) for shard_plan in plans
        ]
        claim.remove_unplanned(output, planned)
        publication = publish.plan_publication(
            listing,
            planned,
            settings,
            output,
            max_rejected_fraction,
            with_stats=with_stats,
        )
        results = progress.finished_results(output, planned)
        manifest = publish.complete_manifest(publication, results)
        if manifest is not None:
            logging.info("kept %d of %d shards: complete", len(planned), len(planned))
            return manifest
        # A dataset without its manifest is seen as unfinished, and it is from here.
        storage.remove(storage.join(output, contract.MANIFEST_NAME))
        progress.check_disk(output, planned, publication.features["image"])
        _run(
            publication,
            planned,
            listing.reader,
            run_id,
            num_workers,
            beam_args,
            nursery,
        )
        return storage.load_manifest(output)


def _run(
    publication: publish.Publication,
    planned: Sequence[plan.PlannedShard],
    reader: sources.Reader,
    run_id: str,
    num_workers: int,
    beam_args: Sequence[str],
    nursery: worker.Nursery | None,
) -> None:
    runner = runners.runner_name(beam_args)
    if runners.is_distributed(runner) and not storage.is_url(publication.output):
        logging.warning(
            "%s: every worker must see --output=%s and --input at the same path",
            runner,
            publication.output,
        )
    names = [shard.name for shard in planned]
    start_seconds = time.monotonic()
    with progress.ProgressBar(publication.output, planned, run_id):
        runners.run_graph(
            lambda pipeline: job.build_graph(
                pipeline, names, reader, publication, run_id, beam_args
            ),
            beam_args,
            num_workers=num_workers,
            num_images=publication.num_images,
            nursery=nursery,
        )
    seconds = time.monotonic() - start_seconds
    results = progress.finished_results(publication.output, planned)
    written = [result for result in results if result.run_id == run_id]
    num_images = sum(
        result.info.num_examples + len(result.rejects) for result in written
    )
    logging.info("kept %d of %d shards", len(planned) - len(written), len(planned))
    logging.info(
        "%d images in %.1f s, %.0f img/s", num_images, seconds, num_images / seconds
    )


def _absolute(path: str) -> str:
    """Returns a path for any worker, whose directory may be another than ours."""
    return path.rstrip("/") if storage.is_url(path) else os.path.abspath(path)


def _check_flags(num_workers: int, max_rejected_fraction: float) -> None:
    if num_workers < 1:
        raise contract.DatasetError(f"--num_workers={num_workers} must be at least 1")
    if not 0 <= max_rejected_fraction <= 1:
        raise contract.DatasetError(
            f"--max_rejected_fraction={max_rejected_fraction} must be from 0 to 1"
        )


def _log_summary(manifest: contract.Manifest) -> None:
    for name, split in manifest.splits.items():
        rejected = ", ".join(
            f"{count} {reason}" for reason, count in split.rejected.items()
        )
        logging.info(
            "%s: %d images in %d shards, %.2f GB, rejected: %s",
            name,
            split.num_examples,
            len(split.shards),
            split.num_bytes / 1e9,
            rejected or "none",
        )


def _settings() -> plan.Settings:
    image_size = _IMAGE_SIZE.value
    if image_size is None:
        image_size = sources.find(_SOURCE.value).image_size
    return plan.Settings(
        source=_SOURCE.value,
        image_size=image_size,
        image_dtype=_IMAGE_DTYPE.value,
        shard_size=_SHARD_SIZE.value,
        seed=_SEED.value,
        resize=_RESIZE.value,
        crop_size=_CROP_SIZE.value,
        split_fractions=plan.parse_fractions(_SPLIT_FRACTIONS.value),
        deduplicate=_DEDUPLICATE.value,
        preprocess=_PREPROCESS.value,
    )


def main(argv: list[str]) -> None:
    """Prepares the dataset that the flags describe."""
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().setFormatter(
        python_logging.Formatter("%(asctime)s %(levelname).1s %(message)s", "%H:%M:%S")
    )
    beam_args = argv[1:]
    if flags.FLAGS["num_workers"].present:
        # Dataflow has a flag of this name.
        beam_args.append(f"--num_workers={_NUM_WORKERS.value}")
    is_local = runners.runner_name(beam_args) == runners.LOCAL_RUNNER
    with contextlib.ExitStack() as stack:
        nursery = None
        if is_local and _NUM_WORKERS.value > 1:
            # As long as there are no threads.
            nursery = stack.enter_context(
                contextlib.closing(worker.Nursery(is_copy=True))
            )
        try:
            manifest = prepare(
                _settings(),
                input_dir=str(_INPUT.value),
                output=str(_OUTPUT.value),
                num_workers=_NUM_WORKERS.value,
                max_rejected_fraction=_MAX_REJECTED_FRACTION.value,
                overwrite=_OVERWRITE.value,
                with_stats=_STATS.value,
                beam_args=beam_args,
                nursery=nursery,
            )
        except contract.DatasetError as error:
            sys.exit(f"error: {error}")
        except KeyboardInterrupt:
            logging.error("interrupted: the same command keeps the finished shards")
            # Beam's threads would finish their shards first.
            os._exit(EXIT_INTERRUPTED)
    _log_summary(manifest)
    print(f"dataset digest: {manifest.digest}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["input", "output"])
    app.run(main, flags_parser=runners.parse_flags)
