"""Runs slow test files first, and writes a line for each file that ends.

Parallel workers take the next file when they have finished one. A slow file at the end
would keep one worker busy while the other workers are idle.
"""

import collections
from collections.abc import Sequence

import pytest

# Seconds that each slow file takes, for sorting; `make slowest` writes this table.
SECS = {
    "test_docs_commands.py": 445,
    "test_flink.py": 400,
    "test_train.py": 275,
    "test_launch.py": 184,
    "test_flagship.py": 121,
    "test_buckets.py": 108,
    "test_sweep.py": 102,
    "test_ratios.py": 100,
    "test_export.py": 97,
    "test_builders.py": 96,
    "test_preprocessing.py": 92,
    "test_network.py": 88,
    "test_prepare.py": 77,
    "test_tensorboard_pages.py": 76,
    "test_peers.py": 72,
    "test_gradients.py": 70,
    "test_gradient_sums.py": 67,
    "test_encode.py": 63,
    "test_links.py": 61,
    "test_notebooks.py": 60,
    "test_bucket_output.py": 49,
    "test_entry.py": 49,
    "test_power.py": 49,
    "test_encode_raw.py": 48,
    "test_image_table.py": 48,
    "test_exact.py": 42,
    "test_variables.py": 35,
    "test_doctor.py": 33,
    "test_tensorboard.py": 32,
    "test_posteriors.py": 24,
    "test_moved_dataset.py": 21,
    "test_command_help.py": 20,
    "test_conditions.py": 20,
    "test_damage.py": 20,
    "test_resizing.py": 20,
    "test_semi_supervised.py": 20,
    "test_golden_runs.py": 19,
    "test_run_power_cuts.py": 19,
    "test_local_runner.py": 18,
    "test_kills.py": 17,
    "test_limits.py": 17,
    "test_workdirs.py": 17,
    "test_counters.py": 16,
    "test_imports.py": 16,
    "test_input_pipeline.py": 16,
    "test_runners.py": 16,
    "test_served_forms.py": 15,
    "test_steps.py": 15,
}


def sort(items: list[pytest.Item]) -> None:
    """Sorts tests by the time that their file takes, longest first."""
    items.sort(key=lambda item: -SECS.get(item.path.name, 0))


class Lines:
    """Writes a line for each file that ends, in place of pytest's dots."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal
        self._num_all = 0
        self._num_ended = 0
        self._left: collections.Counter[str] = collections.Counter()
        self._secs: dict[str, float] = collections.defaultdict(float)
        self._outcomes: dict[str, collections.Counter[str]] = {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        # Every worker collects the same tests, so the first worker's list is enough.
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
    """Adds `Lines` to the process that the workers report to."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    is_beside = getattr(config.option, "dist", "no") != "no" and (
        config.option.verbose <= 0
    )
    if terminal and is_beside and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Lines(terminal))
