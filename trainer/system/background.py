"""Runs tasks in a thread beside the training."""

import concurrent.futures
from collections.abc import Callable
from typing import Any


class Background:
    """Runs one task at a time in a thread; the next call raises a task's error."""

    def __init__(self, name: str) -> None:
        """Prepares a thread called `name`, which starts with the first task."""
        self._pool = concurrent.futures.ThreadPoolExecutor(1, name)
        self._pending: concurrent.futures.Future[Any] | None = None

    def start(self, task: Callable[..., Any], *arguments: Any) -> None:
        """Waits for the previous task, raises its error if any, and starts a task."""
        self.wait()
        self._pending = self._pool.submit(task, *arguments)

    def wait(self) -> None:
        """Waits until the task is done, and raises its error if it failed."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def check(self) -> None:
        """Raises the error of a task that is done; returns at once otherwise."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def close(self) -> None:
        """Waits like `wait`, then ends the thread."""
        try:
            self.wait()
        finally:
            self._pool.shutdown()
