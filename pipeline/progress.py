"""An output directory while it is being made: whose it is, what is done, how fast.

OUT/.progress/settings.json    settings and source, written before anything else
OUT/.progress/lock             held by the running launcher
OUT/.progress/<shard>.json     a finished shard
"""

import contextlib
import fcntl
import json
import math
import os
import pathlib
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tqdm
from absl import logging

from pipeline import contract, files, shards, stats, tfds_files
from pipeline.plan import PlannedShard, Settings

SETTINGS_NAME = "settings.json"
LOCK_NAME = "lock"

_SHARD_NAME = re.compile(
    rf"[a-zA-Z]\w*-({'|'.join(contract.SPLITS)})\.tfrecord-\d{{5,}}-of-\d{{5,}}",
    re.ASCII,
)
# Of a record beside its image: the key, names, labels, framing.
_RECORD_OVERHEAD_BYTES = 512
_LOG_SECONDS = 10.0
_BAR_SECONDS = 0.5


@contextlib.contextmanager
def claimed(
    output: str, settings: Settings, source_fingerprint: str, *, overwrite: bool
) -> Iterator[None]:
    """Holds an output directory for this run, and records its settings in it.

    Unfinished files and saved plans are removed, before and after.

    Args:
        output: Made if it is not there.
        settings: Of this run.
        source_fingerprint: Of this run's listing.
        overwrite: Whether to discard a dataset that is there.

    Raises:
        DatasetError: If the directory has files that are not ours, or a dataset with
            other settings, or another run is at work in it.
    """
    root = pathlib.Path(output)
    if "://" in output:
        raise contract.DatasetError(
            f"--output={output} must be a local or mounted directory, not a URL"
        )
    if root.exists() and not root.is_dir():
        raise contract.DatasetError(f"--output={output} is a file, not a directory")
    progress_dir = root / files.PROGRESS_DIR
    is_ours = progress_dir.is_dir() or (root / contract.MANIFEST_NAME).exists()
    if not is_ours and root.exists() and any(root.iterdir()):
        raise contract.DatasetError(
            f"--output={output} has files that are not a dataset's: give an empty or "
            "a new directory"
        )
    try:
        progress_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise contract.DatasetError(
            f"cannot make --output={output}: {error}"
        ) from error
    with _locked(progress_dir / LOCK_NAME, output):
        body = {
            "schema_version": contract.SCHEMA_VERSION,
            "settings": settings.to_dict(),
            "source_fingerprint": source_fingerprint,
        }
        if overwrite:
            (root / contract.MANIFEST_NAME).unlink(missing_ok=True)
            # Not every dataset has these, and they would pass for the new one's.
            for stale in (
                *progress_dir.glob("*.json"),
                *root.glob(f"*{tfds_files.LABELS_SUFFIX}"),
                root / stats.STATS_NAME,
                root / stats.OVERVIEW_NAME,
            ):
                stale.unlink(missing_ok=True)
        else:
            _check_settings(root, body)
        files.write_text(progress_dir / SETTINGS_NAME, json.dumps(body, indent=1))
        _remove_leftovers(root)
        try:
            yield
        finally:
            # A job that outlives this launcher ends without its plans.
            _remove_leftovers(root)


def remove_unplanned(output: str, plans: Sequence[PlannedShard]) -> None:
    """Removes the shards and sidecars of another plan."""
    names = {plan.name for plan in plans}
    root = pathlib.Path(output)
    for path in root.iterdir():
        if _SHARD_NAME.fullmatch(path.name) and path.name not in names:
            path.unlink()
    for path in (root / files.PROGRESS_DIR).glob("*.json"):
        if path.name != SETTINGS_NAME and path.stem not in names:
            path.unlink()


def check_disk(
    output: str, plans: Sequence[PlannedShard], image: contract.Feature
) -> None:
    """Checks that the shards that are yet to be written fit on the disk.

    Args:
        output: Dataset directory.
        plans: Of every shard.
        image: The feature of that name.

    Raises:
        DatasetError: If not.
    """
    num_images = sum(
        plan.num_images for plan in plans if shards.find_kept(plan, output) is None
    )
    image_bytes = math.prod(image.shape) * np.dtype(image.dtype).itemsize
    needed = num_images * (image_bytes + _RECORD_OVERHEAD_BYTES)
    free = shutil.disk_usage(output).free
    if needed > free:
        raise contract.DatasetError(
            f"{output} needs {needed / 1e9:.1f} GB and its disk has "
            f"{free / 1e9:.1f} GB free: free some space, or choose another --output, a "
            "smaller --image_size or --image_dtype=uint8"
        )


def finished_results(
    output: str, plans: Sequence[PlannedShard]
) -> list[shards.ShardResult]:
    """Returns what the sidecars say of the planned shards that are there."""
    found = (shards.find_kept(plan, output) for plan in plans)
    return [result for result in found if result is not None]


class ProgressBar:
    """Shows the progress of a run, from the sidecars, whatever runs it.

    On a terminal it is a bar; else a line in the log every ten seconds.
    """

    def __init__(self, output: str, plans: Sequence[PlannedShard], run_id: str) -> None:
        """Takes what is there already as done."""
        self._output = output
        self._pending = {plan.name: plan for plan in plans}
        self._num_shards = len(plans)
        self._run_id = run_id
        self._num_images = self._num_rejects = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._poll()

    def __enter__(self) -> "ProgressBar":
        """Starts to watch."""
        self._start_seconds = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stops to watch."""
        self._stop.set()
        self._thread.join()

    def _poll(self) -> None:
        # Of a hundred thousand shards few are new.
        sidecars = os.listdir(os.path.join(self._output, files.PROGRESS_DIR))
        names = {name.removesuffix(".json") for name in sidecars}
        for plan in [plan for name, plan in self._pending.items() if name in names]:
            result = shards.find_kept(plan, self._output)
            if result is None:
                continue
            del self._pending[plan.name]
            self._num_rejects += len(result.rejects)
            if result.run_id == self._run_id:
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
                self._poll()
                rate = self._num_images / (time.monotonic() - self._start_seconds)
                text = f"{rate:.0f} img/s, {self._num_rejects} rejects"
                bar.update(self._num_done() - bar.n)
                bar.set_postfix_str(text)
                if not is_terminal:
                    logging.info(
                        "%d of %d shards, %s", self._num_done(), self._num_shards, text
                    )

    def _num_done(self) -> int:
        return self._num_shards - len(self._pending)


@contextlib.contextmanager
def _locked(path: pathlib.Path, output: str) -> Iterator[None]:
    """Holds a lock that the system releases however the process ends."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise contract.DatasetError(
                f"another pipeline.prepare is at work in --output={output}: wait for "
                "it, or give another directory"
            ) from error
        except OSError as error:
            # Some network file systems have no locks.
            logging.warning("cannot lock %s: %s", path, error)
        yield


def _remove_leftovers(root: pathlib.Path) -> None:
    """Removes unfinished files and saved plans."""
    for path in [*(root / files.PROGRESS_DIR).iterdir(), *root.glob("*.json*.tmp")]:
        if path.suffix in (".tmp", ".npz"):
            # A worker that was lost may just be at its end.
            path.unlink(missing_ok=True)


def _check_settings(root: pathlib.Path, body: dict[str, Any]) -> None:
    """Checks that what is in a directory was made with the same settings."""
    there = _recorded_settings(root)
    if there is None:
        return
    old, new = there["settings"], body["settings"]
    differences = [
        f"--{flag}={old.get(flag)} there, {new.get(flag)} now"
        for flag in sorted(old.keys() | new.keys())
        if old.get(flag) != new.get(flag)
    ]
    differences += [
        f"{name} {str(there[name])[:12]} there, {str(body[name])[:12]} now"
        for name in ("schema_version", "source_fingerprint")
        if there[name] != body[name]
    ]
    if differences:
        raise contract.DatasetError(
            f"--output={root} has a dataset with other settings "
            f"({'; '.join(differences)}): give another --output, or --overwrite to "
            "discard it"
        )


def _recorded_settings(root: pathlib.Path) -> dict[str, Any] | None:
    path = root / files.PROGRESS_DIR / SETTINGS_NAME
    if not path.exists():
        path = root / contract.MANIFEST_NAME
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        return {
            "schema_version": body["schema_version"],
            "settings": dict(body["settings"]),
            "source_fingerprint": body["source_fingerprint"],
        }
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise contract.DatasetError(
            f"{path} is damaged ({type(error).__name__}: {error}): --overwrite "
            "discards what is there"
        ) from error
