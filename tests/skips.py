"""Skips that CONTRIBUTING.md lists; with VAELINE_SKIPS=listed any other skip fails.

`.ci/run` sets this variable, so a test cannot vanish from it without a line there.
"""

import os
import re

import pytest

from tests.pages import read

HEAD = "| reason | skipped tests | who runs them |\n|---|---|---|\n"


def listed() -> dict[str, str]:
    """Returns the rest of each row in CONTRIBUTING.md, keyed by the reason."""
    rows = read("CONTRIBUTING.md").split(HEAD)[1].split("\n\n")[0]
    return dict(re.findall(r"^\| ([^|]+?) \| (.+) \|$", rows, re.MULTILINE))


def refuse_unlisted(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turns a skip whose reason is not listed into a failure, if CI asks for this."""
    is_skip = report.skipped and not hasattr(report, "wasxfail")
    if os.environ.get("VAELINE_SKIPS") != "listed" or not is_skip:
        return
    assert isinstance(report.longrepr, tuple)
    reason = report.longrepr[2].removeprefix("Skipped: ")
    if reason not in listed():
        report.outcome = "failed"
        report.longrepr = f"skipped, but CONTRIBUTING.md lists no such skip: {reason}"
