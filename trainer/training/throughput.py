"""Throughput of a run, and the number of steps for one call of the compiled loop."""

import dataclasses
import datetime
import time

# Target duration of a call; short, because the loop checks signals only between calls.
_CALL_SECS = 0.5


@dataclasses.dataclass(frozen=True)
class Rate:
    """Throughput of some steps.

    Attributes:
        steps_per_second: Mean number of steps per second.
        data_wait_share: Fraction of the time, 0 to 1, that this host waited for batches
            of the input pipeline.
    """

    steps_per_second: float
    data_wait_share: float


class Meter:
    """Measures throughput.

    Attributes:
        steps_per_call: Number of steps in about half a second; 1 until measured.
    """

    def __init__(self) -> None:
        """Starts the clock."""
        self.steps_per_call = 1
        self._called_at = self._logged_at = time.monotonic()
        self._num_steps = 0
        self._wait_secs = 0.0
        self._is_traced = False

    def record_call(self, num_steps: int, wait_secs: float) -> None:
        """Records a call that made `num_steps` steps since the last call or skip.

        Args:
            num_steps: Number of steps, at least 1.
            wait_secs: Seconds that the call waited for batches; see `Steps.train`.
        """
        now = time.monotonic()
        if self._is_traced:
            secs_per_step = (now - self._called_at) / num_steps
            self.steps_per_call = max(1, round(_CALL_SECS / secs_per_step))
            self._num_steps += num_steps
            self._wait_secs += wait_secs
        else:  # The first call traces, so its time predicts nothing.
            self._is_traced = True
            self._logged_at = now
        self._called_at = now

    def skip(self) -> None:
        """Excludes the time since the last call, because the run did other work."""
        now = time.monotonic()
        self._logged_at += now - self._called_at
        self._called_at = now

    def take_rate(self) -> Rate | None:
        """Returns the mean rate since the last `take_rate`.

        The first call of the loop does not count, because it compiles. The result is
        None if no other call was recorded.
        """
        if not self._num_steps:
            return None
        secs = self._called_at - self._logged_at
        # The wait for batches is extrapolated from a few timed waits, so it can exceed
        # `secs`.
        rate = Rate(self._num_steps / secs, min(self._wait_secs / secs, 1.0))
        self._logged_at, self._num_steps, self._wait_secs = self._called_at, 0, 0.0
        return rate


def time_left(num_steps: int, steps_per_second: float) -> str:
    """Returns the duration of `num_steps` as hours, minutes and seconds.

    Example:
        >>> time_left(5400, 1.0)
        '1:30:00'
    """
    return str(datetime.timedelta(seconds=round(num_steps / steps_per_second)))
