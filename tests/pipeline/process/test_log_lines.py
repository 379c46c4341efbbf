"""Every command logs in one format, on standard error."""

import re
import subprocess
import sys

PROGRAM = """
import logging as python_logging
from absl import logging
from pipeline.process import entry

def main(argv):
    logging.info("five images")
    fonts = python_logging.getLogger("matplotlib.font_manager")
    fonts.info("generated new fontManager")
    fonts.warning("no font")
    print("result")

logging.set_verbosity(logging.INFO)
entry.run(main)
"""


def test_a_command_logs_times_and_levels_on_standard_error():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "result\n"
    lines = [re.sub(r"^\d\d:\d\d:\d\d ", "TIME ", x) for x in done.stderr.splitlines()]
    assert lines == ["TIME I five images", "TIME W no font"]
