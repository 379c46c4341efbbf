"""Progress of training: one live line in a terminal, lines in the log elsewhere."""

import sys
from collections.abc import Mapping

import tqdm
from absl import logging
from tqdm.contrib import DummyTqdmFile

from trainer.training import throughput


class Progress:
    """Shows the step and, at every logged step, the loss, throughput and time left.

    In a terminal, the lines of the log scroll above the live line.
    """

    def __init__(self, step: int, num_steps: int) -> None:
        """Starts the live line, if standard error is a terminal.

        Args:
            step: Current step of the run.
            num_steps: Last step of the run, or -1 for no limit.
        """
        self._num_steps = num_steps
        is_live = sys.stderr.isatty()
        self._bar = tqdm.tqdm(
            initial=step,
            total=None if num_steps == -1 else num_steps,
            bar_format="step {n}/{total}  {percentage:.0f}%|{bar:20}|{postfix}"
            if num_steps != -1
            else "step {n}{postfix}",
            dynamic_ncols=True,
            disable=not is_live,
        )
        self._log_stream = None
        if is_live:
            handler = logging.get_absl_handler().python_handler
            self._log_stream = handler.setStream(DummyTqdmFile(sys.stderr))

    def update(self, step: int) -> None:
        """Shows a step."""
        self._bar.update(step - self._bar.n)

    def log(
        self, step: int, scalars: Mapping[str, float], rate: throughput.Rate | None
    ) -> None:
        """Shows the metrics of a logged step.

        Args:
            step: Number of updates made.
            scalars: Metrics by name. With a rate they must include `images_per_second`
                and `data_wait_percent`.
            rate: Throughput since the last log, or None if unknown.
        """
        text = f"loss {scalars['loss']:.5f}  elbo {scalars['elbo']:.1f}"
        if rate:
            text += (
                f"  {scalars['images_per_second']:.0f} img/s"
                f"  data wait {scalars['data_wait_percent']:.1f}%"
            )
        if rate and self._num_steps != -1:
            num_left = self._num_steps - step
            text += f"  {throughput.time_left(num_left, rate.steps_per_second)} left"
        if self._bar.disable:
            logging.info("step %d  %s", step, text)
        else:
            self._bar.set_postfix_str(text)

    def close(self) -> None:
        """Ends the live line; its text stays in the terminal."""
        self._bar.close()
        if self._log_stream is not None:
            logging.get_absl_handler().python_handler.setStream(self._log_stream)
