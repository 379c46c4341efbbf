"""The call that makes a dataset. It imports Beam only when called."""

import os
import warnings

from pipeline import contract
from pipeline.jobs import quiet
from pipeline.planning import dataset_settings
from pipeline.process import limits, path_flags


class Settings(dataset_settings.Settings):
    """Settings that decide a dataset's content, like the flags of `pipeline.prepare`.

    Example:
        >>> Settings(source="mnist", seed=1).image_size
        28
    """


def prepare_dataset(
    settings: dataset_settings.Settings,
    *,
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    num_workers: int | None = None,
    max_rejected_fraction: float | None = None,
    overwrite: bool = False,
    stats: bool = False,
    download: bool = False,
) -> contract.Manifest:
    """Makes a dataset on this machine, or its missing shards.

    It does the same as the command `pipeline.prepare` on its local runner, and makes
    the same files. To continue a call that was stopped, repeat it.

    Args:
        settings: Settings that decide the content of the dataset.
        input: The source's directory or file, local or at s3:// or gs://. The source
            `folder` also takes a pattern, and `tfds` the name of a data set.
        output: Dataset directory to make, local or at s3:// or gs://.
        num_workers: Number of worker processes (default: one per core). Fewer than a
            thousand images are prepared in this process.
        max_rejected_fraction: Largest allowed fraction of rejected images; by default
            0.001, or for a small set 10 images, but at most 5% of all.
        overwrite: Whether to discard a dataset that is in `output`.
        stats: Whether to write `stats.json` and `overview.png`, too.
        download: Whether TensorFlow Datasets downloads and prepares the data set that
            `input` names.

    Returns:
        The manifest of the complete dataset.

    Raises:
        DatasetError: If the source, the output or an argument is invalid. It is a
            subclass of ValueError.

    Example:
        settings = pipeline.Settings(source="folder", image_size=64)
        manifest = pipeline.prepare_dataset(settings, input="photos", output="photos64")
    """
    input_dir = _path("input", input)
    output_dir = _path("output", output)
    if (settings.preprocess or "").startswith("__main__:"):
        raise contract.DatasetError(
            f"preprocess={settings.preprocess} is in the program itself, which workers "
            "do not run: move the function to a module"
        )
    # Restore the program's own warning filters after the call.
    with quiet.beam_is_quiet(), warnings.catch_warnings():
        limits.prepare()
        from pipeline.jobs import dataset_job, preparing

        job = dataset_job.DatasetJob(
            output=output_dir,
            num_workers=limits.num_cores() if num_workers is None else num_workers,
            max_rejected_fraction=max_rejected_fraction,
            overwrite=overwrite,
        )
        manifest = preparing.prepare(
            settings, job, input_dir=input_dir, with_stats=stats, download=download
        )
    assert manifest is not None
    return manifest


def _path(name: str, value: str | os.PathLike[str]) -> str:
    """Returns the path in an argument, parsed like the flag of the same name.

    Raises:
        DatasetError: If the value is empty, or neither a path nor a URL.
    """
    text = os.fsdecode(value)
    if not text:
        raise contract.DatasetError(f"{name} is empty: give a path")
    try:
        return path_flags.parse(text, takes_urls=True)
    except ValueError as error:
        raise contract.DatasetError(f"{name}={text}: {error}") from error
