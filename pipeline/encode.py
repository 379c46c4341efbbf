"""Encodes a dataset: its images to verified shards of latents, on any Beam runner.

    python -m pipeline.encode --model=EXPORT --dataset=DATASET_DIR --output=LATENTS_DIR

The model is what trainer.export wrote. Beam's own flags pass through. A run that was
killed is continued by the same command.
"""

from collections.abc import Sequence

from absl import app, flags

from pipeline import (
    command_line,
    contract,
    latents,
    local_runner,
    runners,
    worker,
)

_MODEL = flags.DEFINE_string("model", None, "What trainer.export wrote: a directory.")
_DATASET = flags.DEFINE_string(
    "dataset", None, "Of images, from pipeline.prepare, local or at s3:// or gs://."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Directory of latents to make, local or at s3:// or gs://."
)
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers",
    runners.num_cores(),
    "Worker processes of the local runner; it uses its own alone for fewer than "
    f"{local_runner.PROCESSES_FROM_IMAGES} images.",
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Discard a dataset that is in --output."
)


def main(argv: list[str]) -> None:
    """Encodes the dataset that the flags name."""
    command_line.run(argv, _encode)


def _encode(
    beam_args: Sequence[str], nursery: worker.Nursery | None
) -> contract.Manifest | None:
    return latents.encode(
        model=str(_MODEL.value),
        dataset_dir=str(_DATASET.value),
        output=str(_OUTPUT.value),
        num_workers=_NUM_WORKERS.value,
        overwrite=_OVERWRITE.value,
        beam_args=beam_args,
        nursery=nursery,
    )


if __name__ == "__main__":
    flags.mark_flags_as_required(["model", "dataset", "output"])
    app.run(main, flags_parser=runners.parse_flags)
