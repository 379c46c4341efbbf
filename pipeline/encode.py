"""Encodes images as verified shards of latents, on any Beam runner.

    python -m pipeline.encode --model=EXPORT --dataset=DATASET_DIR --output=LATENTS_DIR
    python -m pipeline.encode --model=EXPORT --input=CELEBA_DIR --output=LATENTS_DIR

Give either the images of a dataset, or raw images. Raw images take the source flags of
pipeline.prepare, and are preprocessed like the images that the model was trained on.

--model is a directory that trainer.export wrote. Beam's own flags pass through. To
continue a run that was killed, run the same command again.
"""

from collections.abc import Sequence

from absl import flags, logging

from pipeline import contract, sources
from pipeline.jobs import execution, source_flags, worker
from pipeline.process import entry, limits, path_flags, variables

flags.adopt_module_key_flags(source_flags)

_MODEL = path_flags.define("model", None, "Directory that trainer.export wrote.")
_DATASET = path_flags.define(
    "dataset",
    None,
    "Dataset of images that pipeline.prepare wrote (local, s3:// or gs://); or give "
    "--input.",
    takes_urls=True,
)
_OUTPUT = path_flags.define(
    "output",
    None,
    "Directory to write the dataset of latents to (local, s3:// or gs://).",
    takes_urls=True,
)
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers",
    limits.num_cores(),
    "Worker processes of the local runner; for fewer than "
    f"{worker.PROCESSES_FROM_IMAGES} images it starts none.",
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Discard the dataset that --output holds."
)


def main(argv: list[str]) -> None:
    """Encodes the dataset that the flags name."""
    execution.run(argv, _encode)


def _encode(
    beam_args: Sequence[str], nursery: worker.Nursery | None
) -> contract.Manifest | None:
    from pipeline.jobs import dataset_job
    from pipeline.latents import encoding

    # The workers inherit the variables.
    variables.override()
    for phrase in variables.phrases():
        logging.warning("%s", phrase)
    if _DATASET.value is not None:
        source_flags.check_absent()
        settings = None
    elif source_flags.INPUT.value is not None:
        settings = source_flags.settings()
    else:
        raise contract.DatasetError("give --dataset, or give raw images as --input")
    job = dataset_job.DatasetJob(
        output=_OUTPUT.value,
        num_workers=_NUM_WORKERS.value,
        max_rejected_fraction=source_flags.MAX_REJECTED_FRACTION.value,
        overwrite=_OVERWRITE.value,
        beam_args=beam_args,
        nursery=nursery,
    )
    if settings is None:
        return encoding.encode(job, model=_MODEL.value, dataset_dir=str(_DATASET.value))
    input_dir = sources.locate(
        settings.source,
        str(source_flags.INPUT.value),
        download=source_flags.DOWNLOAD.value,
    )
    return encoding.encode_raw(settings, job, model=_MODEL.value, input_dir=input_dir)


if __name__ == "__main__":
    flags.mark_flags_as_required(["model", "output"])
    entry.run(main, flags_parser=execution.parse_flags)
