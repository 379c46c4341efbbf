"""A profile of some steps, for TensorBoard's profile plugin."""

import pathlib
import re

import tensorflow as tf
from absl import logging


class Profiler:
    """Records a profile of the devices between two steps.

    All hosts of a run end their calls of the compiled loop at these steps, but only one
    host records.
    """

    def __init__(
        self, steps: tuple[int, int] | None, directory: pathlib.Path | None
    ) -> None:
        """Stores the steps; records nothing yet.

        Args:
            steps: Step before the first recorded step, and last recorded step; None for
                no profile.
            directory: Directory of the profile; None on a host that does not record.
        """
        self._steps = steps
        self._directory = directory
        self._is_recording = False

    def steps_to_edge(self, step: int) -> list[int]:
        """Returns the number of steps until recording begins or ends.

        The list holds this number alone; it is empty if no recording begins or ends.
        """
        return [edge - step for edge in self._steps or () if edge > step][:1]

    def note(self, step: int) -> None:
        """Starts or ends the recording if `step` has reached its first or last step."""
        if self._steps is None or self._directory is None:
            return
        first, last = self._steps
        if not self._is_recording and first <= step < last:
            tf.profiler.experimental.start(str(self._directory))
            self._is_recording = True
        elif self._is_recording and step >= last:
            self.close()

    def close(self) -> None:
        """Ends the recording, if one is running, and writes it."""
        if self._is_recording:
            self._is_recording = False
            tf.profiler.experimental.stop()
            logging.info("wrote the profile to %s", self._directory)


def parse_steps(text: str | None) -> tuple[int, int] | None:
    """Returns the two steps of `FIRST:LAST`; None for no text.

    Raises:
        ValueError: If the text has another form, or LAST is not after FIRST.

    Example:
        >>> parse_steps("100:110")
        (100, 110)
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+):(\d+)", text, re.ASCII)
    if match is None or not int(match[1]) < int(match[2]):
        raise ValueError(
            f"profile_steps={text} must be FIRST:LAST, as in 100:110 for the ten "
            "steps after step 100"
        )
    return int(match[1]), int(match[2])
