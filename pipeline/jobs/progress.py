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
    raw = [features[name] for name in contract.RAW_FEATURES if name in features]
    num_bytes = sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in raw)
    needed = num_images * (num_bytes + _RECORD_OVERHEAD_BYTES)
    free = shutil.disk_usage(output).free + (num_bytes_freed or 0)
    if needed > free:
        smaller = ", a smaller `image_size` or image_dtype=uint8"
        raise contract.DatasetError(
            f"{output} needs {needed / 1e9:.1f} GB, but its disk has "
            f"{free / 1e9:.1f} GB free: free some space, or choose another `output`"
            f"{smaller if 'image' in features else ''}"
        )


def finished_results(
    output: str, plans: Sequence[PlannedShard]
) -> list[shards.ShardResult]:
    """Returns the results of the finished shards, from their sidecars."""
    # Each shard takes two requests in a bucket.
    with concurrent.futures.ThreadPoolExecutor(_NUM_REQUESTS) as pool:
        results = list(pool.map(lambda plan: shards.find_finished(plan, output), plans))
    return [result for result in results if result is not None]


class ProgressBar:
    """Shows the progress of a run on any runner, from the sidecars of its shards.

    On a terminal it shows a bar; otherwise it logs a line every ten seconds.
    """

    def __init__(
        self,
        output: str,
        plans: Sequence[PlannedShard],
        run_id: str,
        *,
        keeps_earlier: bool = True,
    ) -> None:
        """Counts the finished shards as done.

        Args:
            output: Dataset directory.
            plans: All planned shards.
            run_id: ID of this run.
            keeps_earlier: Whether this run keeps the shards of earlier runs.
        """
        self._output = output
        self._pending = {plan.name: plan for plan in plans}
        self._num_shards = len(plans)
        self._run_id = run_id
        self._keeps_earlier = keeps_earlier
        self._num_images = self._num_rejects = 0
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
        sidecars = paths.list_directory(folder)
        names = {entry.name.removesuffix(".json") for entry in sidecars}
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
                self._num_images += plan.num_images

    def _watch(self) -> None:
        is_terminal = sys.stderr.isatty()
        with tqdm.tqdm(
            total=self._num_shards,
            initial=self._num_done(),
            unit="shard",
            disable=not is_terminal,
        ) as bar:
            while not self._stop.wait(_BAR_SECONDS if is_terminal else _LOG_SECONDS):
                try:
                    self._poll()
                except contract.DatasetError as error:
                    logging.warning("cannot read the progress: %s", error)
                    continue
                rate = self._num_images / (time.monotonic() - self._start_seconds)
                text = f"{rate:.0f} images/s, {self._num_rejects} rejected"
                bar.update(self._num_done() - bar.n)
                bar.set_postfix_str(text)
                if not is_terminal:
                    logging.info(
                        "%d of %d shards done, %s",
                        self._num_done(),
                        self._num_shards,
                        text,
                    )

    def _num_done(self) -> int:
        return self._num_shards - len(self._pending)
