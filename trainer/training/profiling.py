"""A profile of some steps, for TensorBoard's profile plugin."""

import pathlib
import re

import tensorflow as tf
from absl import logging


class Profiler:
    """Records what the devices do from one step to another.

    All hosts of a run cut their calls at these steps, and one of them records.
    """

    def __init__(
        self, steps: tuple[int, int] | None, directory: pathlib.Path | None
    ) -> None:
        """Records nothing yet.

        Args:
            steps: The step after which to begin, and the last; None for no profile.
            directory: Where to write; None on a host that does not record.
        """
        self._steps = steps
        self._directory = directory
        self._is_recording = False

    def steps_to_edge(self, step: int) -> list[int]:
        """Returns how many steps may be made before recording begins or ends."""
        return [edge - step for edge in self._steps or () if edge > step][:1]

    def note(self, step: int) -> None:
        """Begins or ends to record, if `step` is that of doing so."""
        if self._steps is None or self._directory is None:
            return
        first, last = self._steps
        if not self._is_recording and first <= step < last:
            tf.profiler.experimental.start(str(self._directory))
            self._is_recording = True
        elif self._is_recording and step >= last:
            self.close()

    def close(self) -> None:
        """Writes what was recorded, if it is not yet."""
        if self._is_recording:
            self._is_recording = False
            tf.profiler.experimental.stop()
            logging.info("profile in %s", self._directory)


def parse_steps(text: str | None) -> tuple[int, int] | None:
    """Returns the two steps that `FIRST:LAST` names.

    Raises:
        ValueError: If it does not, or the last is not after the first.

    Example:
        >>> parse_steps("100:110")
        (100, 110)
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+):(\d+)", text, re.ASCII)
    if match is None or not int(match[1]) < int(match[2]):
        raise ValueError(
            f"--profile_steps={text} must be FIRST:LAST, as in 100:110, which is the "
            "ten steps after the hundredth"
        )
    return int(match[1]), int(match[2])
