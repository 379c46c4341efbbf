"""Worker processes of the local runner: quiet, ready at once, gone with their launcher.

The imports of a worker take as long as preparing three thousand images. So a command
makes a `Nursery` before it has threads: a copy of itself, which forks into workers.
"""

import contextlib
import gc
import logging
import multiprocessing
import os
import sys
import threading
import types
from collections.abc import Iterator
from multiprocessing import connection

import numpy as np

from pipeline.process import interrupts, limits

# With fewer images, the local runner is as fast in this process alone.
PROCESSES_FROM_IMAGES = 1_000


class Nursery:
    """A process that waits and starts workers on demand; it ends with this process."""

    def __init__(self, *, is_copy: bool = False) -> None:
        """Starts the process.

        Args:
            is_copy: Whether to copy this process, with all its imports. This process
                must then have no threads: locks that they hold would stay locked in
                the copy.
        """
        context = multiprocessing.get_context(
            "fork" if is_copy and sys.platform == "linux" else "spawn"
        )
        self._orders, orders = context.Pipe()
        self._process = context.Process(target=_serve_orders, args=(orders,))
        # The launcher answers Ctrl-C for all processes.
        with interrupts.hidden_from_children(), _without_program():
            self._process.start()
        orders.close()

    def start_worker(self, control_address: str, worker_id: str) -> None:
        """Starts a worker for the runner at an address; it ends with the runner."""
        self._orders.send((control_address, worker_id))

    def close(self) -> None:
        """Ends the nursery and its workers."""
        with contextlib.suppress(OSError):
            self._orders.send(None)
        self._process.join()


@contextlib.contextmanager
def _without_program() -> Iterator[None]:
    """Keeps a spawned process from running the program again.

    A program without `if __name__ == "__main__"` would make its datasets again there.
    """
    program = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program


def _serve_orders(orders: connection.Connection) -> None:
    limits.prepare()
    # Each start of a worker logs twenty lines at INFO. Errors reach the launcher
    # anyway.
    logging.disable(logging.ERROR)
    import apache_beam.runners.worker.sdk_worker  # noqa: F401

    import pipeline.jobs.graph  # noqa: F401
    from pipeline.images import resizing

    # Warm up: the first image of a process takes as long as a thousand others.
    image, values = np.zeros((2, 2, 3), np.uint8), np.zeros(256, np.uint8)
    resizing.resize_and_map(image, 1, "bilinear", values)
    # Imported objects stay, so garbage collections need not look at them again.
    gc.freeze()
    launcher = multiprocessing.parent_process()
    assert launcher is not None
    while orders in connection.wait([orders, launcher.sentinel]):
        order = orders.recv()
        if order is None:
            break
        multiprocessing.get_context("fork").Process(
            target=_serve_runner, args=order, daemon=True
        ).start()


def end_with_parent() -> None:
    """Makes this process end when its parent ends."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _serve_runner(control_address: str, worker_id: str) -> None:
    end_with_parent()
    import grpc
    from apache_beam.runners.worker import sdk_worker

    # A failed step prints its traceback, which Beam also passes on to the launcher. An
    # error that ends this process is still shown.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        try:
            sdk_worker.SdkHarness(control_address, worker_id=worker_id).run()
        except grpc.RpcError:
            # The launcher has exited; its threads' tracebacks would only confuse.
            os._exit(1)


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
