"""Runs slow test files first, and writes a line for each file that ends.

Parallel workers take the next file when they have finished one. A slow file at the end
would keep one worker busy while the other workers are idle.
"""

import collections
from collections.abc import Sequence

import pytest

# Seconds that each slow file takes, for sorting; `make slowest` writes this table.
SECS = {
    "test_docs_commands.py": 586,
    "test_flink.py": 439,
    "test_train.py": 388,
    "test_launch.py": 262,
    "test_flagship.py": 160,
    "test_buckets.py": 146,
    "test_prepare.py": 135,
    "test_ratios.py": 130,
    "test_sweep.py": 119,
    "test_preprocessing.py": 116,
    "test_builders.py": 103,
    "test_encode.py": 95,
    "test_network.py": 92,
    "test_tensorboard_pages.py": 89,
    "test_export.py": 85,
    "test_links.py": 83,
    "test_gradient_sums.py": 79,
    "test_peers.py": 79,
    "test_entry.py": 78,
    "test_encode_raw.py": 68,
    "test_image_table.py": 61,
    "test_power.py": 52,
    "test_variables.py": 49,
    "test_doctor.py": 46,
    "test_bucket_output.py": 42,
    "test_exact.py": 37,
    "test_tensorboard.py": 36,
    "test_gradients.py": 32,
    "test_run_power_cuts.py": 31,
    "test_posteriors.py": 30,
    "test_command_help.py": 29,
    "test_imports.py": 28,
    "test_moved_dataset.py": 28,
    "test_semi_supervised.py": 28,
    "test_damage.py": 27,
    "test_resizing.py": 27,
    "test_counters.py": 26,
    "test_dataset_power_cuts.py": 26,
    "test_limits.py": 26,
    "test_golden_runs.py": 25,
    "test_conditions.py": 24,
    "test_local_runner.py": 24,
    "test_passing_faults.py": 24,
    "test_workdirs.py": 24,
    "test_steps.py": 22,
    "test_mnist.py": 21,
    "test_scores.py": 21,
    "test_served_forms.py": 21,
    "test_kills.py": 20,
    "test_fuzz_runs.py": 19,
    "test_golden_data.py": 19,
    "test_label_tables.py": 19,
    "test_runners.py": 19,
    "test_input_pipeline.py": 18,
    "test_tfds.py": 18,
    "test_open_files.py": 17,
    "test_celeba_parquet.py": 16,
    "test_plain_keras.py": 16,
    "test_datasets.py": 15,
    "test_paths.py": 15,
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
