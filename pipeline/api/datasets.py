"""The call that makes a dataset. It imports Beam only when called."""

import dataclasses
import os
import warnings

from pipeline import contract
from pipeline.jobs import quiet
from pipeline.planning import dataset_settings
from pipeline.process import arguments, limits

_ARGUMENTS = (
    *(field.name for field in dataclasses.fields(dataset_settings.Settings)),
    *("input", "output", "num_workers", "max_rejected_fraction", "overwrite", "stats"),
)
# The flags are named like the arguments.
_NAMES = dict(zip(_ARGUMENTS, _ARGUMENTS, strict=True))


class Settings(dataset_settings.Settings):
    """Settings that decide a dataset's content, like the flags of `pipeline.prepare`.

    Example:
        >>> Settings(source="mnist", seed=1).image_size
        28
    """

    def __post_init__(self) -> None:
        """Checks that every value is allowed."""
        with arguments.named(_NAMES):
            super().__post_init__()


def prepare_dataset(
    settings: dataset_settings.Settings,
    *,
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    num_workers: int | None = None,
    max_rejected_fraction: float = 0.001,
    overwrite: bool = False,
    stats: bool = False,
) -> contract.Manifest:
    """Makes a dataset on this machine, or its missing shards.

    It does the same as the command `pipeline.prepare` on its local runner, and makes
    the same files. To continue a call that was stopped, repeat it.

    Args:
        settings: Settings that decide the content of the dataset.
        input: The source's directory or file, local or at s3:// or gs://. The source
            `folder` also takes a pattern.
        output: Dataset directory to make, local or at s3:// or gs://.
        num_workers: Number of worker processes (default: one per core). Fewer than a
            thousand images are prepared in this process.
        max_rejected_fraction: Largest allowed fraction of rejected images.
        overwrite: Whether to discard a dataset that is in `output`.
        stats: Whether to write `stats.json` and `overview.png`, too.

    Returns:
        The manifest of the complete dataset.

    Raises:
        DatasetError: If the source, the output or an argument is invalid. It is a
            subclass of ValueError.

    Example:
        settings = pipeline.Settings(source="folder", image_size=64)
        manifest = pipeline.prepare_dataset(settings, input="photos", output="photos64")
    """
    input_dir = arguments.path("input", input)
    output_dir = arguments.path("output", output)
    if (settings.preprocess or "").startswith("__main__:"):
        raise contract.DatasetError(
            f"preprocess={settings.preprocess} is in the program itself, which workers "
            "do not run: move the function to a module"
        )
    # Restore the program's own warning filters after the call.
    with quiet.beam_is_quiet(), warnings.catch_warnings(), arguments.named(_NAMES):
        limits.prepare()
        from pipeline.jobs import dataset_job, preparing

        job = dataset_job.DatasetJob(
            output=output_dir,
            num_workers=limits.num_cores() if num_workers is None else num_workers,
            max_rejected_fraction=max_rejected_fraction,
            overwrite=overwrite,
        )
        manifest = preparing.prepare(
            settings, job, input_dir=input_dir, with_stats=stats
        )
    assert manifest is not None
    return manifest
