"""Progress of a run, and the check that its missing shards fit on the disk.

OUT/.progress/<shard>.json     sidecar of a finished shard
"""

import concurrent.futures
import math
import shutil
import sys
import threading
import time
from collections.abc import Mapping, Sequence

import numpy as np
import tqdm
from absl import logging

from pipeline import contract
from pipeline.dataset import shards
from pipeline.planning.plan import PlannedShard
from pipeline.process import wording
from pipeline.storage import files, paths

# Size of a record without its arrays: key, names, labels and framing.
_RECORD_OVERHEAD_BYTES = 512
_LOG_SECONDS = 10.0
_BAR_SECONDS = 0.5
_NUM_REQUESTS = 16


def check_disk(
    output: str,
    plans: Sequence[PlannedShard],
    features: Mapping[str, contract.Feature],
    num_bytes_freed: int | None = None,
) -> None:
    """Checks that the missing shards fit on the disk.

    A bucket has no limit and is not checked.

    Args:
        output: Dataset directory.
        plans: All planned shards.
        features: Features of a record.
        num_bytes_freed: Size in bytes of the old shards, if all are discarded first;
            None if finished shards that match the plans stay.

    Raises:
        DatasetError: If the disk is too small.
    """
    if paths.is_url(output):
        return
    num_images = sum(
        plan.num_images
        for plan in plans
        if num_bytes_freed is not None or shards.find_finished(plan, output) is None
    )
    needed = num_images * (_num_raw_bytes(features) + _RECORD_OVERHEAD_BYTES)
    free = shutil.disk_usage(output).free + (num_bytes_freed or 0)
    if needed > free:
        smaller = ", a smaller `image_size` or image_dtype=uint8"
        raise contract.DatasetError(
            f"{output} needs {wording.size(needed)}, but its disk has "
            f"{wording.size(free)} free: free some space, or choose another `output`"
            f"{smaller if 'image' in features else ''}"
        )


def _num_raw_bytes(features: Mapping[str, contract.Feature]) -> int:
    """Returns the size in bytes of the arrays in a record."""
    raw = [features[name] for name in contract.RAW_FEATURES if name in features]
    return sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in raw)


def finished_results(
    output: str, plans: Sequence[PlannedShard]
) -> list[shards.ShardResult]:
    """Returns the results of the finished shards, from their sidecars."""
    # Each shard takes two requests in a bucket.
    with concurrent.futures.ThreadPoolExecutor(_NUM_REQUESTS) as pool:
        results = list(pool.map(lambda plan: shards.find_finished(plan, output), plans))
    return [result for result in results if result is not None]


class ProgressBar:
    """Shows how many images a run has finished, on any runner.

    The sidecars of finished shards count their images. The size of an unfinished shard
    shows how many images are in it; a bucket has no unfinished shards. On a terminal it
    shows a bar; otherwise it logs a line every ten seconds.
    """

    def __init__(
        self,
        output: str,
        plans: Sequence[PlannedShard],
        features: Mapping[str, contract.Feature],
        run_id: str,
        *,
        keeps_earlier: bool = True,
    ) -> None:
        """Counts the finished shards as done.

        Args:
            output: Dataset directory.
            plans: All planned shards.
            features: Features of a record.
            run_id: ID of this run.
            keeps_earlier: Whether this run keeps the shards of earlier runs.
        """
        self._output = output
        self._pending = {plan.name: plan for plan in plans}
        self._num_planned = sum(plan.num_images for plan in plans)
        self._record_bytes = max(1, _num_raw_bytes(features))
        self._run_id = run_id
        self._keeps_earlier = keeps_earlier
        # Images in shards of earlier runs, in finished shards of this run, and in its
        # unfinished shards.
        self._num_kept = self._num_finished = self._num_begun = 0
        self._num_rejects = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._poll()

    def __enter__(self) -> "ProgressBar":
        """Starts to watch the sidecars."""
        self._start_seconds = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stops watching."""
        self._stop.set()
        self._thread.join()

    def _poll(self) -> None:
        # List first: only a few of perhaps a hundred thousand shards are new.
        folder = paths.join(self._output, files.PROGRESS_DIR)
        entries = list(paths.list_directory(folder))
        names = {entry.name.removesuffix(".json") for entry in entries}
        for plan in [plan for name, plan in self._pending.items() if name in names]:
            result = shards.find_finished(plan, self._output)
            if result is None:
                continue
            is_new = result.run_id == self._run_id
            if not is_new and not self._keeps_earlier:
                continue
            del self._pending[plan.name]
            self._num_rejects += len(result.rejects)
            if is_new:
                self._num_finished += plan.num_images
            else:
                self._num_kept += plan.num_images
        begun = {
            name: entry.num_bytes // self._record_bytes
            for entry in entries
            if entry.name.endswith(".tmp")
            # A temporary name is the name of the shard, an ID and a suffix.
            and (name := entry.name.rsplit(".", 2)[0]) in self._pending
        }
        self._num_begun = sum(
            min(number, self._pending[name].num_images)
            for name, number in begun.items()
        )

    def _watch(self) -> None:
        is_terminal = sys.stderr.isatty()
        with tqdm.tqdm(
            total=self._num_planned,
            initial=self._num_done(),
            unit="image",
            disable=not is_terminal,
        ) as bar:
            while not self._stop.wait(_BAR_SECONDS if is_terminal else _LOG_SECONDS):
                try:
                    self._poll()
                except contract.DatasetError as error:
                    logging.warning("cannot read the progress: %s", error)
                    continue
                bar.update(self._num_done() - bar.n)
                bar.set_postfix_str(f"{self._num_rejects} rejected")
                if not is_terminal:
                    logging.info("%s", self._text())

    def _num_done(self) -> int:
        """Returns the number of images that need no more work."""
        return self._num_kept + self._num_finished + self._num_begun

    def _text(self) -> str:
        num_made = self._num_finished + self._num_begun
        rate = num_made / (time.monotonic() - self._start_seconds)
        planned = wording.counted(self._num_planned, "image")
        return (
            f"{self._num_done()} of {planned} done, {rate:.0f} images/s, "
            f"{self._num_rejects} rejected"
        )
