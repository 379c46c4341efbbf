"""Work that a run does not wait for."""

import concurrent.futures
from collections.abc import Callable
from typing import Any


class Background:
    """Does one task at a time, in a thread; the next call raises its error."""

    def __init__(self, name: str) -> None:
        """Starts the thread, which is called `name`, at the first task."""
        self._pool = concurrent.futures.ThreadPoolExecutor(1, name)
        self._pending: concurrent.futures.Future[Any] | None = None

    def start(self, task: Callable[..., Any], *arguments: Any) -> None:
        """Begins a task once the one before is done, whose error this raises."""
        self.wait()
        self._pending = self._pool.submit(task, *arguments)

    def wait(self) -> None:
        """Returns once the task is done, and raises its error if it failed."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def check(self) -> None:
        """Does what `wait` does, if that takes no time."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def close(self) -> None:
        """Does what `wait` does, and ends the thread."""
        try:
            self.wait()
        finally:
            self._pool.shutdown()
