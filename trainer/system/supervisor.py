"""Supervises the processes of a training, and restarts them all when one dies."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import IO

from absl import logging

from pipeline.process import ports
from trainer.distribution.cluster import Cluster
from trainer.system import subprocesses
from trainer.system.signals import STOPPING

# Exit codes that a restart would repeat: success, an error in settings or files, and a
# non-finite loss.
_FINAL_CODES = (0, 1, 4)
# Seconds that a process may take to stop before it is killed.
_GRACE_SECS = 5.0
_POLL_SECS = 0.1


class Job:
    """The processes of one start or restart."""

    def __init__(self, num_processes: int, train_flags: Sequence[str]) -> None:
        """Starts the processes, and threads that copy their output."""
        clusters = _environments(num_processes)
        self._processes = [
            subprocesses.start_training(train_flags, subprocess.PIPE, environment)
            for environment in clusters
        ]
        self._readers = [
            threading.Thread(target=_copy, args=(process.stdout, prefix), daemon=True)
            for process, prefix in zip(
                self._processes, _prefixes(num_processes), strict=True
            )
        ]
        for reader in self._readers:
            reader.start()

    def wait(self) -> tuple[int, int] | None:
        """Waits until a process fails, or until all processes have ended.

        Returns:
            Number and code of the failed process, or None if none failed. The code is
            an exit code, or 128 + the number of the signal that ended the process.
        """
        while True:
            codes = [process.poll() for process in self._processes]
            failed = [(at, code) for at, code in enumerate(codes) if code]
            if failed:
                number, code = failed[0]
                return number, subprocesses.exit_code(code)
            if None not in codes:
                return None
            time.sleep(_POLL_SECS)

    def send(self, number: int) -> None:
        """Sends a signal to every process that still runs."""
        subprocesses.send(self._processes, number)

    def stop(self) -> None:
        """Ends all processes; kills a process that outlasts the grace time."""
        self.send(signal.SIGTERM)
        end = time.monotonic() + _GRACE_SECS
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
        self.send(signal.SIGKILL)
        for process in self._processes:
            process.wait()
        for reader in self._readers:
            reader.join()


def supervise(num_processes: int, max_restarts: int, train_flags: Sequence[str]) -> int:
    """Runs a job to its end and returns its exit code.

    Args:
        num_processes: Number of processes that train together.
        max_restarts: Largest number of restarts after a process died.
        train_flags: Flags of trainer.train.
    """
    requests: list[int] = []
    jobs: list[Job] = []

    def hand_on(number: int, frame: object) -> None:
        del frame
        requests.append(number)
        if jobs:
            jobs[-1].send(number)

    for number in STOPPING:
        signal.signal(number, hand_on)
    for attempt in range(max_restarts + 1):
        jobs.append(Job(num_processes, train_flags))
        if requests:
            jobs[-1].send(requests[0])
        failed = jobs[-1].wait()
        jobs[-1].stop()
        if failed is None:
            return 0
        process, code = failed
        if requests:
            return 128 + requests[0]
        if code in _FINAL_CODES:
            return code
        logging.warning(
            "process %d ended with %s", process, subprocesses.describe(code)
        )
        if attempt < max_restarts:
            logging.warning(
                "restart %d of %d, from the last checkpoint", attempt + 1, max_restarts
            )
    logging.error("gave up after %d restarts: see the log above", max_restarts)
    return code


def _environments(num_processes: int) -> list[dict[str, str]]:
    """Returns the extra environment variables of each process."""
    if num_processes == 1:
        return [{}]
    hosts = tuple(f"127.0.0.1:{port}" for port in ports.find_free(num_processes))
    clusters = [Cluster(hosts, index, "launch") for index in range(num_processes)]
    return [{"TF_CONFIG": cluster.tf_config()} for cluster in clusters]


def _prefixes(num_processes: int) -> Iterator[str]:
    for index in range(num_processes):
        yield "" if num_processes == 1 else f"[{index}] "


def _copy(stream: IO[str], prefix: str) -> None:
    for line in stream:
        sys.stderr.write(f"{prefix}{line}")
        sys.stderr.flush()
