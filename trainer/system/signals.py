"""Turns signals that ask a run to stop into a flag that the training loop checks."""

import signal
from types import FrameType, TracebackType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """A context that records SIGINT, SIGTERM and SIGUSR1 instead of ending the process.

    The first signal restores the previous handlers, so an impatient user can still end
    the process at once with a second signal.

    Attributes:
        received: First signal received, or None.
    """

    received: signal.Signals | None = None

    def __enter__(self) -> "StopRequest":
        """Installs the handlers."""
        self._previous = {
            number: signal.signal(number, self._note) for number in STOPPING
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Restores the previous handlers."""
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
