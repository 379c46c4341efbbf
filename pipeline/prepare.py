"""Turns raw images into verified TFRecord shards, on any Beam runner.

    python -m pipeline.prepare --input=CELEBA_DIR --output=DATASET_DIR

Beam's own flags pass through: --runner=FlinkRunner --parallelism=8. To continue a run
that was killed, run the same command again.
"""

from collections.abc import Sequence

from absl import flags

from pipeline import contract, sources
from pipeline.images import resizing
from pipeline.jobs import execution, source_flags, worker
from pipeline.planning.dataset_settings import Settings
from pipeline.process import entry, limits, path_flags

_DEFAULTS = Settings()

flags.adopt_module_key_flags(source_flags)
_OUTPUT = path_flags.define(
    "output",
    None,
    "Directory to write the dataset to (local, s3:// or gs://).",
    takes_urls=True,
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    None,
    "Side of the square images in pixels; by default "
    + ", ".join(f"{each.image_size} for {n}" for n, each in sources.SOURCES.items())
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
    f"Resize filter: {', '.join(resizing.RESIZES)} (as in TensorFlow 1, without "
    "antialiasing).",
)
_CROP_SIZE = flags.DEFINE_integer(
    "crop_size",
    _DEFAULTS.crop_size,
    "Side in pixels of the square cut from the centre of an image; 0 cuts the largest "
    "square.",
)
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers",
    limits.num_cores(),
    "Worker processes of the local runner; for fewer than "
    f"{worker.PROCESSES_FROM_IMAGES} images it starts none.",
)
_STATS = flags.DEFINE_bool(
    "stats", False, "Also write stats.json (brightness, labels) and overview.png."
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Discard the dataset that --output holds."
)


def _settings() -> Settings:
    return source_flags.settings(
        image_size=_IMAGE_SIZE.value,
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
    from pipeline.jobs import dataset_job, preparing

    return preparing.prepare(
        _settings(),
        dataset_job.DatasetJob(
            output=str(_OUTPUT.value),
            num_workers=_NUM_WORKERS.value,
            max_rejected_fraction=source_flags.MAX_REJECTED_FRACTION.value,
            overwrite=_OVERWRITE.value,
            beam_args=beam_args,
            nursery=nursery,
        ),
        input_dir=str(source_flags.INPUT.value),
        with_stats=_STATS.value,
        download=source_flags.DOWNLOAD.value,
    )


if __name__ == "__main__":
    flags.mark_flags_as_required(["input", "output"])
    entry.run(main, flags_parser=execution.parse_flags)
