"""Prepares a dataset: raw images to verified TFRecord shards, on any Beam runner.

    python -m pipeline.prepare --input=CELEBA_DIR --output=DATASET_DIR

Beam's own flags pass through: --runner=FlinkRunner --parallelism=8. A run that was
killed is continued by the same command.
"""

import dataclasses
import uuid
from collections.abc import Sequence

from absl import flags

from pipeline import contract, sources
from pipeline.dataset import output_directory, publishing
from pipeline.images import resizing, user_function
from pipeline.jobs import execution, graph, local_runner, runners, source_flags, worker
from pipeline.planning import plan, plan_files
from pipeline.planning.dataset_settings import Settings
from pipeline.process import entry, path_flags
from pipeline.storage import buckets

_DEFAULTS = Settings()

flags.adopt_module_key_flags(source_flags)
_OUTPUT = path_flags.define(
    "output",
    None,
    "Dataset directory to make, local or at s3:// or gs://.",
    takes_urls=True,
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
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers",
    runners.num_cores(),
    "Worker processes of the local runner; it uses its own alone for fewer than "
    f"{local_runner.PROCESSES_FROM_IMAGES} images.",
)
_STATS = flags.DEFINE_bool(
    "stats", False, "Write stats.json (brightness, labels) and overview.png, too."
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Discard a dataset that is in --output."
)


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
    execution.check_num_workers(num_workers)
    execution.check_fraction(max_rejected_fraction)
    buckets.configure(beam_args)
    input_dir = execution.absolute(input_dir)
    output = execution.absolute(output)
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
        return execution.make_missing(
            held,
            publication,
            planned,
            graph.MakeShard(publication, settings, listing.reader, run_id, beam_args),
            run_id,
            num_workers=num_workers,
            beam_args=beam_args,
            nursery=nursery,
        )


def _settings() -> Settings:
    image_size = _IMAGE_SIZE.value
    if image_size is None:
        image_size = sources.find(source_flags.SOURCE.value).image_size
    return source_flags.settings(
        image_size=image_size,
        image_dtype=_IMAGE_DTYPE.value,
        resize=_RESIZE.value,
        crop_size=_CROP_SIZE.value,
    )


def main(argv: list[str]) -> None:
    """Prepares the dataset that the flags describe."""
    execution.run(argv, _prepare)


def _prepare(
    beam_args: Sequence[str], nursery: worker.Nursery | None
) -> contract.Manifest | None:
    return prepare(
        _settings(),
        input_dir=str(source_flags.INPUT.value),
        output=str(_OUTPUT.value),
        num_workers=_NUM_WORKERS.value,
        max_rejected_fraction=source_flags.MAX_REJECTED_FRACTION.value,
        overwrite=_OVERWRITE.value,
        with_stats=_STATS.value,
        beam_args=beam_args,
        nursery=nursery,
    )


if __name__ == "__main__":
    flags.mark_flags_as_required(["input", "output"])
    entry.run(main, flags_parser=runners.parse_flags)
