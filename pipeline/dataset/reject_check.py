"""Takes a second look at the rejects of finished shards, with the run's plans."""

import dataclasses
from collections.abc import Iterable

from pipeline.dataset import examples
from pipeline.dataset.shards import ShardResult
from pipeline.planning import plan_files
from pipeline.planning.dataset_settings import Settings
from pipeline.sources import Reader


@dataclasses.dataclass(frozen=True)
class RejectCheck:
    """Everything needed to read images of any shard again; pickled to the workers.

    Attributes:
        settings: Preprocessing settings of the images.
        reader: Reader of the source.
        output: Directory of the shards.
        run_id: ID of the run that saved the plans.
    """

    settings: Settings
    reader: Reader
    output: str
    run_id: str


def find_unconfirmed(
    check: RejectCheck | None, results: Iterable[ShardResult]
) -> str | None:
    """Describes the first reject that a second look does not confirm, or returns None.

    Args:
        check: Settings and reader of the images; None if no image can be rejected.
        results: Results of finished shards, planned by the run of `check`.

    Raises:
        DatasetError: If a plan or the source cannot be read, or the source has changed.
    """
    for result in results:
        if check is None or not result.rejects:
            continue
        plan = plan_files.load_plan(check.output, result.info.name, check.run_id)
        reject = examples.find_unconfirmed(
            result.rejects, plan.images, check.settings, check.reader
        )
        if reject is not None:
            return f"{reject.key} was rejected ({reject.reason}: {reject.detail})"
    return None
