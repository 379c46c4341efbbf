"""Reads the files of a workdir, without TensorFlow."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from trainer.reporting.html import pictures, work_time
from trainer.reporting.html.pictures import Picture
from trainer.runs import checkpoints, metrics_file, workdir

_MAX_NUMBER = 1e300
# Lines of metrics.jsonl that the median speed covers.
_NUM_RECENT_LINES = 20


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """The contents of a workdir.

    Attributes:
        name: Name of the directory.
        config: Settings by name.
        dataset: `digest`, `settings` and `path`.
        metrics: Lines of metrics.jsonl in file order; all have `step` and `split`.
        num_damaged_lines: Number of damaged lines of metrics.jsonl, which are left out.
        pictures: Newest grid of every name.
        samples: Grids of samples at a few steps, from the first to the newest.
        generated: Newest pictures that trainer.generate wrote.
        damaged_pictures: Paths of damaged or too large pictures, relative to the
            workdir.
        scores: Results of `trainer.evaluate`, by path.
        saved: Metadata of the checkpoints, newest first.
        busy_secs: Seconds that a trainer was at work, from the events; None without
            events.
        written_at: When the run last wrote a metric, in seconds since the epoch; None
            without metrics.
    """

    name: str
    config: dict[str, Any]
    dataset: dict[str, Any]
    metrics: list[dict[str, Any]]
    num_damaged_lines: int
    pictures: list[Picture]
    samples: list[Picture]
    generated: list[Picture]
    damaged_pictures: list[str]
    scores: dict[str, dict[str, Any]]
    saved: list[dict[str, Any]]
    busy_secs: float | None
    written_at: float | None

    @property
    def dataset_name(self) -> str:
        """Returns the name of the dataset's directory, or its source if unknown."""
        path, source = self.dataset.get("path"), self.dataset_settings.get("source")
        return pathlib.Path(path if isinstance(path, str) else "").name or str(source)

    @property
    def dataset_settings(self) -> dict[str, Any]:
        """Returns the settings of the dataset; empty if they are damaged."""
        found = self.dataset.get("settings")
        return found if isinstance(found, dict) else {}

    @property
    def target_step(self) -> float | None:
        """Returns the step at which training ends; None if the config has none."""
        target = self.config.get("num_train_steps")
        return target if is_number(target) and target > 0 else None

    @property
    def step(self) -> int:
        """Returns the last step found in metrics or checkpoints."""
        steps = [line["step"] for line in self.metrics]
        saved = [meta["step"] for meta in self.saved if is_number(meta.get("step"))]
        return max([0, *steps, *saved])

    @property
    def splits(self) -> list[str]:
        """Returns the splits that have metrics, `train` first."""
        found = {line["split"] for line in self.metrics}
        return sorted(found, key=lambda split: (split != "train", split))

    @property
    def metric_names(self) -> set[str]:
        """Returns the names of all metrics."""
        named = {n for line in self.metrics for n, v in line.items() if is_number(v)}
        return named - {"step"}

    @property
    def first_evaluation(self) -> dict[str, Any] | None:
        """Returns the earliest evaluation line, or None."""
        return min(self._evaluations(), key=lambda line: line["step"], default=None)

    @property
    def last_evaluation(self) -> dict[str, Any] | None:
        """Returns the newest evaluation line, or None."""
        return max(self._evaluations(), key=lambda line: line["step"], default=None)

    @property
    def best_evaluation(self) -> dict[str, Any] | None:
        """Returns the evaluation line with the highest ELBO, or None."""
        return max(self._evaluations(), key=lambda line: line["elbo"], default=None)

    def _evaluations(self) -> list[dict[str, Any]]:
        return [
            line
            for line in self.metrics
            if line["split"] != "train" and is_number(line.get("elbo"))
        ]


def read(directory: pathlib.Path, num_samples: int) -> RunFiles:
    """Reads a workdir, even while a trainer is writing to it.

    Args:
        directory: Workdir of the run.
        num_samples: Number of sample grids to read.

    Raises:
        ValueError: If the directory is no workdir, or its config.json or dataset.json
            is damaged.
        OSError: If a file cannot be read.
    """
    for name in ("config.json", "dataset.json"):
        if not (directory / name).exists():
            raise workdir.no_run_error(directory, name)
    metrics, num_damaged_lines = metrics_file.read(directory / metrics_file.NAME)
    damaged = []
    newest, samples = [], []
    for name, paths in pictures.find_grids(directory / "images").items():
        shown = paths[-1:]
        if name == "samples/sampled":
            shown = spread(paths, num_samples)
        found = []
        for path in shown:
            try:
                found.append(pictures.read(name, path, int(path.stem)))
            except pictures.ERRORS:
                damaged.append(str(path.relative_to(directory)))
        newest += found[-1:]
        if name == "samples/sampled":
            samples = found
    generated = []
    for path in pictures.find_generated(directory / "generated"):
        try:
            generated.append(pictures.read(path.name, path, 0))
        except pictures.ERRORS:
            damaged.append(str(path.relative_to(directory)))
    path = directory / metrics_file.NAME
    return RunFiles(
        name=directory.absolute().name,
        config=workdir.read_json(directory / "config.json"),
        dataset=workdir.read_json(directory / "dataset.json", "digest"),
        metrics=metrics,
        num_damaged_lines=num_damaged_lines,
        pictures=newest,
        samples=samples,
        generated=generated,
        damaged_pictures=damaged,
        scores=_read_all(directory.glob("evaluation/*.json")),
        saved=list(_read_all(_meta_paths(directory / "checkpoints")).values()),
        busy_secs=work_time.busy_secs(directory),
        written_at=path.stat().st_mtime if path.exists() else None,
    )


def points(
    metrics: list[dict[str, Any]], name: str
) -> dict[str, list[tuple[int, float]]]:
    """Returns steps and values of a metric by split, in order of steps.

    Example:
        >>> points([{"step": 3, "split": "train", "kl": 2.0}], "kl")
        {'train': [(3, 2.0)]}
    """
    found = {}
    for line in metrics:
        if is_number(line.get(name)):
            found.setdefault(line["split"], []).append((line["step"], line[name]))
    return {split: sorted(found[split]) for split in sorted(found)}


def recent(metrics: list[dict[str, Any]], name: str) -> list[float]:
    """Returns the newest values of a metric, of all splits."""
    return [
        value
        for series in points(metrics, name).values()
        for _, value in series[-_NUM_RECENT_LINES:]
    ]


def is_number(value: object) -> bool:
    """Returns whether a JSON value is a number that a chart can show."""
    # Exclude True, which is an int, and NaN, which fails the comparison.
    return type(value) in (int, float) and abs(value) < _MAX_NUMBER


def spread(values: Sequence[Any], num: int) -> Sequence[Any]:
    """Returns at most `num` evenly spread values, with the first and the last.

    Example:
        >>> spread(list(range(100)), 4)
        [0, 33, 66, 99]
    """
    if len(values) <= num:
        return values
    if num < 2:
        return values[-1:]
    last = len(values) - 1
    return [values[round(i * last / (num - 1))] for i in range(num)]


def _meta_paths(directory: pathlib.Path) -> list[pathlib.Path]:
    paths = checkpoints.list_newest_first(directory)
    # Skip damaged checkpoints: other commands load the newest sound one.
    while paths and not checkpoints.is_whole(paths[0]):
        paths.pop(0)
    return [path / checkpoints.META_NAME for path in paths]


def _read_all(paths: Iterable[pathlib.Path]) -> dict[str, dict[str, Any]]:
    """Returns JSON objects by path, and leaves out files that hold none."""
    found = {}
    for path in paths:
        # A running trainer may remove a checkpoint meanwhile.
        with contextlib.suppress(OSError, ValueError):
            found[str(path)] = workdir.read_json(path)
    return found
