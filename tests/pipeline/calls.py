"""Makes datasets in this process, with the functions behind the commands.

Further keyword arguments are fields of `DatasetJob`.
"""

import os
from typing import Any

from pipeline import contract
from pipeline.jobs import preparing
from pipeline.jobs.dataset_job import DatasetJob
from pipeline.latents import encoding
from pipeline.planning.dataset_settings import Settings

AnyPath = str | os.PathLike[str]


def prepare(
    settings: Settings,
    *,
    input_dir: AnyPath,
    output: AnyPath,
    with_stats: bool = False,
    **job: Any,
) -> contract.Manifest | None:
    return preparing.prepare(
        settings,
        DatasetJob(str(output), **job),
        input_dir=str(input_dir),
        with_stats=with_stats,
    )


def encode(
    *, model: AnyPath, dataset_dir: AnyPath, output: AnyPath, **job: Any
) -> contract.Manifest | None:
    return encoding.encode(
        DatasetJob(str(output), **job), model=str(model), dataset_dir=str(dataset_dir)
    )


def encode_raw(
    images: Settings, *, model: AnyPath, input_dir: AnyPath, output: AnyPath, **job: Any
) -> contract.Manifest | None:
    return encoding.encode_raw(
        images,
        DatasetJob(str(output), **job),
        model=str(model),
        input_dir=str(input_dir),
    )
