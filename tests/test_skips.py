"""The skips that CONTRIBUTING.md lists, and failures of all others."""

import pathlib
import re

import pytest

from tests import skips
from tests.chaos import reliability
from tests.pages import ROOT


def skipped(reason: str) -> pytest.TestReport:
    """Returns the report of a skipped test after the check."""
    where = ("tests/test_any.py", 1, f"Skipped: {reason}")
    report = pytest.TestReport("any", where, {}, "skipped", where, "setup")
    skips.refuse_unlisted(report)
    return report


def test_only_a_skip_that_is_listed_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAELINE_SKIPS", "listed")
    for reason in skips.listed():
        assert skipped(reason).outcome == "skipped"
    report = skipped("needs Java")
    assert report.outcome == "failed"
    assert "lists no such skip: needs Java" in str(report.longrepr)
    monkeypatch.delenv("VAELINE_SKIPS")
    assert skipped("needs Java").outcome == "skipped"


def test_the_hooks_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests import conftest

    monkeypatch.setenv("VAELINE_SKIPS", "listed")
    for hook in (
        conftest.pytest_runtest_makereport,
        conftest.pytest_make_collect_report,
    ):
        running = hook()
        next(running)
        where = ("tests/test_any.py", 1, "Skipped: needs Java")
        report = pytest.TestReport("any", where, {}, "skipped", where, "setup")
        with pytest.raises(StopIteration) as stop:
            running.send(report)
        assert stop.value.value is report
        assert report.failed


def test_ci_asks_for_it_and_installs_what_tests_need() -> None:
    text = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert "\nVAELINE_SKIPS=listed step make test-all" in text
    assert "export VAELINE_PRISM=" in text


def test_the_listed_scenarios_are_those_that_only_chaos_runs() -> None:
    row = skips.listed()[reliability.ONLY_FULL]
    actual = {
        path.name: len(re.findall(r"^ *only_full=True|only_full=True\)$", text, re.M))
        for path in pathlib.Path(reliability.__file__).parent.glob("test_*.py")
        if "only_full=True" in (text := path.read_text(encoding="utf-8"))
    }
    listed = re.findall(r"`(test_\w+\.py)` \((\d+)\)", row)
    assert {name: int(number) for name, number in listed} == actual
