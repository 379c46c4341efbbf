"""Saves plans to disk, and loads them in the workers that write the shards."""

import dataclasses
import io
import json
from collections.abc import Iterable

import numpy as np

from pipeline import contract
from pipeline.planning.plan import PlannedShard, ShardPlan
from pipeline.process import wording
from pipeline.sources.image_table import ImageTable
from pipeline.storage import files, paths

_FEATURE_PREFIX = "feature/"


def save_plans(
    plans: Iterable[ShardPlan], output: str, run_id: str
) -> tuple[list[PlannedShard], list[str]]:
    """Writes the plans of a run; see `save_plan`.

    Returns:
        The planned shards, and the keys of the images that the source lists but does
        not have.

    Raises:
        DatasetError: If a plan cannot be made, or the disk is full.
    """
    planned, missing = [], []
    for plan in plans:
        planned.append(save_plan(plan, output, run_id))
        # A missing image has a negative location: see `archives.ImageIndex.missing`.
        absent = np.flatnonzero(plan.images.locations[:, 0] < 0)
        missing += [plan.images.keys[place] for place in absent.tolist()]
    return planned, missing


def save_plan(plan: ShardPlan, output: str, run_id: str) -> PlannedShard:
    """Writes the plan of a shard to `plan_path`, where a worker of the run loads it.

    The path contains the run's id. A job that outlives its launcher therefore cannot
    load the plans of the next run, which may have other settings.

    Returns:
        The planned shard. It omits the images, so the launcher need not keep them.

    Raises:
        DatasetError: If the disk is full.
    """
    shard, images = plan.shard, plan.images
    path = plan_path(output, shard.name, run_id)
    temporary = files.temporary_path(output, shard.name)
    arrays = {
        f"{_FEATURE_PREFIX}{feature}": values
        for feature, values in images.features.items()
    }
    header = json.dumps([dataclasses.asdict(shard), images.keys])
    with files.full_disk_explained(str(temporary.parent), shard.name):
        try:
            with temporary.open("wb") as file:
                np.savez(
                    file,
                    allow_pickle=False,
                    header=np.frombuffer(header.encode(), np.uint8),
                    locations=images.locations,
                    **arrays,
                )
            # No sync: a power loss ends the run, and the next run writes new plans.
            paths.put_file(str(temporary), path, is_synced=False)
        finally:
            temporary.unlink(missing_ok=True)
    return shard


def load_plan(output: str, name: str, run_id: str) -> ShardPlan:
    """Returns the plan that `save_plan` wrote, without unpickling anything.

    Raises:
        DatasetError: If the plan is missing or damaged.
    """
    path = plan_path(output, name, run_id)
    try:
        data = io.BytesIO(paths.read_bytes(path))
        with np.load(data, allow_pickle=False) as arrays:
            shard, keys = json.loads(arrays["header"].tobytes())
            features = {
                array.removeprefix(_FEATURE_PREFIX): arrays[array]
                for array in arrays.files
                if array.startswith(_FEATURE_PREFIX)
            }
            images = ImageTable(keys, arrays["locations"], features)
            plan = ShardPlan(PlannedShard(**shard), images)
            _check(plan, name)
            return plan
    except (FileNotFoundError, contract.DatasetError) as error:
        raise contract.DatasetError(
            f"a worker cannot read {path}: every worker must see `output` at the same "
            f"path, and no later run may work in it ({wording.cause(error)})"
        ) from error
    # AttributeError: NumPy returns bytes for a member that is not an array.
    except (AttributeError, *files.ARCHIVE_ERRORS) as error:
        raise contract.DatasetError(
            f"the plan {path} is damaged ({type(error).__name__}: {error!s:.200}): "
            "make the same call again"
        ) from error


def _check(plan: ShardPlan, name: str) -> None:
    """Raises ValueError unless the plan is sound and belongs to the shard `name`."""
    shard, images = plan.shard, plan.images
    is_sound = (
        shard.name == name
        and shard.split in contract.SPLITS
        and shard.num_images == len(images.keys)
        and isinstance(images.keys, list)
        and all(isinstance(key, str) for key in images.keys)
        and images.locations.ndim == 2
        and all(
            array.dtype.kind in "iu" and array.shape[:1] == (len(images.keys),)
            for array in (images.locations, *images.features.values())
        )
    )
    if not is_sound:
        raise ValueError(f"not the plan of {name}")


def plan_path(output: str, name: str, run_id: str) -> str:
    """Returns the path of the plan of the shard `name` during a run."""
    return paths.join(output, files.PROGRESS_DIR, f"{name}.{run_id}.npz")
