"""Plans on disk: how a worker gets what it needs to write a shard."""

import json
import os
import pathlib

import numpy as np

from pipeline import contract, files
from pipeline.plan import ShardPlan

_FEATURE_PREFIX = "feature/"


def save_plan(plan: ShardPlan, output: str, run_id: str) -> None:
    """Writes the plan of a shard where a worker of the run finds it by its name.

    A job that outlives its launcher does not find the plans of the next run, whose
    settings may be others.

    Raises:
        DatasetError: If the disk is full.
    """
    path = plan_path(output, plan.name, run_id)
    temporary = files.temporary_path(output, plan.name)
    arrays = {
        f"{_FEATURE_PREFIX}{feature}": values
        for feature, values in plan.features.items()
    }
    header = json.dumps([plan.split, plan.index, plan.keys, plan.fingerprint])
    with files.full_disk_explained(output, path.name):
        try:
            with temporary.open("wb") as file:
                np.savez(
                    file,
                    allow_pickle=False,
                    header=np.array(header),
                    locations=plan.locations,
                    **arrays,
                )
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def load_plan(output: str, name: str, run_id: str) -> ShardPlan:
    """Returns the plan that `save_plan` wrote.

    Raises:
        DatasetError: If it is not there.
    """
    path = plan_path(output, name, run_id)
    try:
        with np.load(path) as arrays:
            split, index, keys, fingerprint = json.loads(str(arrays["header"]))
            return ShardPlan(
                name=name,
                split=split,
                index=index,
                keys=tuple(keys),
                locations=arrays["locations"],
                features={
                    array.removeprefix(_FEATURE_PREFIX): arrays[array]
                    for array in arrays.files
                    if array.startswith(_FEATURE_PREFIX)
                },
                fingerprint=fingerprint,
            )
    except OSError as error:
        raise contract.DatasetError(
            f"a worker cannot read {path}: every worker must see --output at the same "
            f"path, and no later run may be at work in it ({error})"
        ) from error


def plan_path(output: str, name: str, run_id: str) -> pathlib.Path:
    """Returns where the plan of the shard `name` is, while a run lasts."""
    return pathlib.Path(output, files.PROGRESS_DIR, f"{name}.{run_id}.npz")
