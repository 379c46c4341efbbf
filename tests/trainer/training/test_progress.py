import contextlib
import io
import logging as python_logging
import re
from collections.abc import Iterator

import pytest
from absl import logging

from trainer.training import progress, throughput

SCALARS = {
    "loss": 0.5,
    "elbo": -12.34,
    "images_per_second": 640.0,
    "data_wait_percent": 0.25,
}
RATE = throughput.Rate(steps_per_second=10.0, data_wait_share=0.0025)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def terminal() -> Iterator[Terminal]:
    """Replaces standard error with a terminal, which also receives the log."""
    handler = logging.get_absl_handler().python_handler
    verbosity, root_handlers = (
        logging.get_verbosity(),
        list(python_logging.root.handlers),
    )
    logging.set_verbosity(logging.INFO)
    logging.use_absl_handler()
    stream = Terminal()
    with contextlib.redirect_stderr(stream):
        before = handler.setStream(stream)
        try:
            yield stream
        finally:
            handler.setStream(before)
            python_logging.root.handlers[:] = root_handlers
            logging.set_verbosity(verbosity)


def test_a_terminal_has_one_live_line() -> None:
    with terminal() as stream:
        shown = progress.Progress(100, 1000)
        shown.update(300)
        shown.log(400, SCALARS, RATE)
        logging.get_absl_handler().python_handler.stream.write("an evaluation\n")
        shown.update(500)
        shown.close()
    *_, line = stream.getvalue().rstrip("\n").split("\r")
    assert line.startswith("step 500/1000  50%|")
    assert "loss 0.50000  elbo -12.3  640 img/s  data wait 0.2%  0:01:00 left" in line
    # A log line does not share its line with the progress bar.
    (logged,) = re.findall(r"\r([^\r]*an evaluation)\n", stream.getvalue())
    assert "step" not in logged


def test_an_endless_run_has_neither_end_nor_time_left() -> None:
    with terminal() as stream:
        shown = progress.Progress(0, -1)
        shown.log(7, SCALARS, RATE)
        shown.update(8)
        shown.close()
    assert "step 8, loss 0.50000" in stream.getvalue()
    assert "left" not in stream.getvalue()


def test_the_log_goes_where_it_went() -> None:
    with terminal() as stream:
        progress.Progress(0, 10).close()
        assert logging.get_absl_handler().python_handler.stream is stream


def test_elsewhere_there_are_lines_in_the_log(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO", logger="absl")
    shown = progress.Progress(0, 1000)
    shown.update(300)
    shown.log(400, SCALARS, RATE)
    shown.log(400, SCALARS, None)
    shown.close()
    assert [record.getMessage() for record in caplog.records] == [
        "step 400  loss 0.50000  elbo -12.3  640 img/s  data wait 0.2%  0:01:00 left",
        "step 400  loss 0.50000  elbo -12.3",
    ]
    assert "\r" not in capsys.readouterr().err
