"""In which order files of tests run, and a line for each that ends.

Workers beside each other take the next file when they have ended one. So files that
take long come first: as the last, one would keep one worker busy and leave others idle.
"""

import collections
from collections.abc import Sequence

import pytest

# Seconds of files that take long, by which they are sorted; `make slowest` writes them.
SECS = {
    "test_docs_commands.py": 600,
    "test_flagship.py": 300,
    "test_published_size.py": 300,
    "test_ratios.py": 240,
    "test_flink.py": 200,
    "test_launch.py": 200,
    "test_entry.py": 150,
    "test_encode_raw.py": 150,
    "test_sweep.py": 150,
    "test_builders.py": 120,
    "test_train.py": 120,
    "test_workdirs.py": 100,
    "test_kills.py": 100,
    "test_damage.py": 100,
    "test_tensorboard_pages.py": 100,
    "test_peers.py": 90,
    "test_prepare_kills.py": 90,
    "test_power.py": 90,
    "test_links.py": 90,
    "test_network.py": 90,
    "test_export.py": 90,
    "test_runners.py": 90,
    "test_rows.py": 70,
    "test_doctor.py": 60,
    "test_fuzz_runs.py": 60,
    "test_sampling.py": 60,
    "test_memory.py": 60,
    "test_report.py": 60,
    "test_served_forms.py": 60,
    "test_passing_faults.py": 40,
    "test_posteriors.py": 40,
    "test_prepare.py": 40,
    "test_checkpoint_saver.py": 40,
    "test_scores.py": 40,
    "test_semi_supervised.py": 40,
    "test_tensorboard.py": 40,
}


def sort(items: list[pytest.Item]) -> None:
    """Sorts tests by the time that their file takes, longest first."""
    items.sort(key=lambda item: -SECS.get(item.path.name, 0))


class Lines:
    """Tells of files in place of dots, which do not show where workers are."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal
        self._num_all = 0
        self._num_ended = 0
        self._left: collections.Counter[str] = collections.Counter()
        self._secs: dict[str, float] = collections.defaultdict(float)
        self._outcomes: dict[str, collections.Counter[str]] = {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        # Every worker collects the same.
        if not self._num_all:
            self._num_all = len(ids)
            self._left.update(map(_file_of, ids))

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self, report: pytest.TestReport):
        category, letter, word = yield
        file = _file_of(report.nodeid)
        if category:
            self._outcomes.setdefault(file, collections.Counter())[category] += 1
        return category, "", word

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = _file_of(report.nodeid)
        self._secs[file] += report.duration
        if report.failed:
            self._terminal.write_line(f"failed: {report.nodeid}", red=True)
        if report.when == "teardown":
            self._num_ended += 1
            self._left[file] -= 1
            if not self._left[file]:
                self._write(file)

    def _write(self, file: str) -> None:
        percent = 100 * self._num_ended // self._num_all
        parts = [f"{num} {what}" for what, num in self._outcomes[file].items()]
        self._terminal.write_line(
            f"[{percent:3d}%] {self._secs[file]:4.0f} s  {file}: {', '.join(parts)}"
        )


def _file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def configure(config: pytest.Config) -> None:
    """Has the process that the workers report to write a line for each file."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    is_beside = getattr(config.option, "dist", "no") != "no" and (
        config.option.verbose <= 0
    )
    if terminal and is_beside and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Lines(terminal))
