"""Counters of a run: Beam's metrics, and the line that a local run prints."""

import pathlib
import re
from collections import Counter

import apache_beam as beam
import pytest
from apache_beam.metrics import MetricsFilter

from pipeline import contract
from pipeline.jobs import counters
from pipeline.planning.dataset_settings import Settings
from pipeline.process import wording
from tests.pipeline import calls, exports

SMALL = Settings(image_size=8, shard_size=4)
PROCESSES = ("--direct_running_mode=multi_processing",)


class Jobs:
    """Results of the Beam jobs of a test."""

    def __init__(self) -> None:
        self.results = []

    def counters(self) -> Counter[str]:
        """Returns the counters of the last job, by name."""
        metrics = (
            self.results[-1]
            .metrics()
            .query(MetricsFilter().with_namespace(counters.NAMESPACE))
        )
        return Counter(
            {metric.key.metric.name: metric.committed for metric in metrics["counters"]}
        )


@pytest.fixture
def jobs(monkeypatch) -> Jobs:
    seen, run = Jobs(), beam.Pipeline.run

    def observed(self, *args, **kwargs):
        result = run(self, *args, **kwargs)
        seen.results.append(result)
        return result

    monkeypatch.setattr(beam.Pipeline, "run", observed)
    return seen


@pytest.fixture
def spoilt_dir(celeba, tmp_path) -> str:
    """Returns a directory of 30 faces, three of them to be rejected."""
    first, second, third, *_ = sorted(celeba.images)
    celeba.images[first] = celeba.images[second] = b"no image"
    del celeba.images[third]
    return celeba.write(tmp_path / "raw")


def prepared(input_dir, output, **changes) -> contract.Manifest:
    manifest = calls.prepare(
        SMALL,
        input_dir=input_dir,
        output=str(output),
        max_rejected_fraction=0.2,
        **changes,
    )
    assert manifest is not None
    return manifest


def of_manifest(manifest: contract.Manifest, kept: set[str] = frozenset()) -> Counter:
    """Returns the expected counters of a run; the shards in `kept` have no rejects."""
    expected: Counter[str] = Counter()
    for split in manifest.splits.values():
        new_shards = [shard for shard in split.shards if shard.name not in kept]
        expected["shards_made"] += len(new_shards)
        expected["shards_kept"] += len(split.shards) - len(new_shards)
        expected["bytes_written"] += sum(shard.num_bytes for shard in new_shards)
        expected["images_read"] += sum(shard.num_examples for shard in new_shards)
        expected["images_read"] += sum(split.rejected.values())
        for reason, num in split.rejected.items():
            expected[f"images_rejected_{reason}"] += num
    return expected


@pytest.mark.parametrize("beam_args", [(), PROCESSES], ids=["inside", "processes"])
def test_metrics_are_the_numbers_of_the_manifest_and_of_the_summary(
    spoilt_dir, tmp_path, jobs, caplog, beam_args
):
    caplog.set_level("INFO", logger="absl")
    manifest = prepared(spoilt_dir, tmp_path / "out", beam_args=beam_args)
    actual = jobs.counters()
    assert actual == of_manifest(manifest)
    assert actual["images_read"] == 30
    assert actual["images_rejected_unreadable"] == 2
    assert actual["images_rejected_missing"] == 1
    num_bytes = sum(path.stat().st_size for path in (tmp_path / "out").glob("*-of-*"))
    assert actual["bytes_written"] == num_bytes
    assert (
        f"wrote {actual['shards_made']} shards: 30 images read, rejected: 1 missing, "
        f"2 unreadable; {wording.size(num_bytes)} written" in caplog.text
    )
    assert "kept" not in caplog.text
    assert re.search(r"\b30 images in [\d.]+ s", caplog.text)


def test_a_resumed_run_counts_what_it_makes(spoilt_dir, tmp_path, jobs, caplog):
    output = tmp_path / "out"
    manifest = prepared(spoilt_dir, output)
    rejected = {line.split('"')[3] for line in rejected_lines(output)}
    assert rejected == {"train", "validation"}
    shards = manifest.splits["train"].shards + manifest.splits["validation"].shards
    for shard in shards:
        (output / shard.name).unlink()
    caplog.set_level("INFO", logger="absl")
    caplog.clear()
    again = prepared(spoilt_dir, output)
    assert again.digest == manifest.digest
    kept = {shard.name for shard in manifest.splits["test"].shards}
    actual = jobs.counters()
    assert actual == of_manifest(manifest, kept)
    assert actual["shards_kept"] == len(kept) == 2
    num_shards = len(shards) + len(kept)
    assert f"kept 2 of {num_shards} shards" in caplog.text
    assert (
        f"wrote {len(shards)} shards: 24 images read, rejected: 1 missing, "
        f"2 unreadable; {wording.size(actual['bytes_written'])} written" in caplog.text
    )


def rejected_lines(output: pathlib.Path) -> list[str]:
    return (output / contract.REJECTED_NAME).read_text().splitlines()


@pytest.mark.slow
def test_shards_of_latents_are_counted_too(input_dir, tmp_path, jobs):
    prepared(input_dir, tmp_path / "images")
    model = exports.write(tmp_path / "export", tmp_path / "images")
    output = tmp_path / "latents"
    names = {
        "model": str(model),
        "dataset_dir": str(tmp_path / "images"),
        "output": str(output),
    }
    # TensorFlow takes its settings once per process, so encode in worker processes.
    manifest = calls.encode(**names, beam_args=PROCESSES)
    assert manifest is not None
    assert jobs.counters() == of_manifest(manifest)
    kept = {shard.name for shard in manifest.splits["train"].shards}
    for split in ("validation", "test"):
        for shard in manifest.splits[split].shards:
            (output / shard.name).unlink()
    calls.encode(**names, beam_args=PROCESSES)
    actual = jobs.counters()
    assert actual == of_manifest(manifest, kept)
    assert actual["images_read"] == 12
