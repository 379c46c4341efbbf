"""Guards speed by ratios between two timings of the same run, with generous bounds.

tests/test_imports.py checks that the trainer does not import Beam.
"""

import json
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from benchmarks import inputs, limits, measuring, start_up, stepping
from pipeline import contract, sources
from pipeline.dataset import shards
from pipeline.formats import records
from pipeline.planning.dataset_settings import Settings
from pipeline.synthetic import layout
from tests import preloaded
from trainer.analysis.latents import neighbours
from trainer.data import record_reader

pytestmark = pytest.mark.slow

DEBUG, SHAPE = "configs/celeba_debug.py", (32, 32, 3)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Returns a directory in CelebA's layout, with 60 drawn faces."""
    root = tmp_path_factory.mktemp("faces")
    layout.write_dataset(str(root), 60, 0)
    return str(root)


@pytest.fixture(scope="module")
def dataset(faces: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Returns a dataset of the drawn faces."""
    output = str(tmp_path_factory.mktemp("dataset"))
    run("pipeline.prepare", f"--input={faces}", f"--output={output}", "--image_size=32")
    return output


def run(module: str, *arguments: str) -> str:
    """Runs a module of this repository and returns its standard output."""
    command = [preloaded.shared_python(), "-m", module, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def ratios(
    one: Callable[[], None], other: Callable[[], None], num_rounds: int = 5
) -> list[float]:
    """Returns the time of `one` divided by the time of `other`, after a warm-up."""
    actual = []
    for number in range(num_rounds + 1):
        start = time.monotonic()
        one()
        middle = time.monotonic()
        other()
        if number:
            actual.append((middle - start) / (time.monotonic() - middle))
    return actual


def test_a_shard_takes_not_twice_as_long_as_decoding_alone(
    faces: str, tmp_path: pathlib.Path
):
    contents = [content for _, _, content, _ in inputs.read(faces)]
    settings = Settings()
    listing = sources.list_images("celeba", faces)
    splits = listing.by_split()

    def write() -> None:
        for split, rows in splits.items():
            encoded = shards.encode_records(rows, settings, listing.reader, [])
            shards.write_records(split, encoded, tmp_path / split)

    def decode() -> None:
        for content in contents:
            limits.resize(limits.decode_with_pillow(content), settings.image_size)

    assert min(ratios(write, decode)) < 2


def test_batches_in_their_order_are_not_ten_times_as_slow_as_a_plain_loop(dataset: str):
    manifest = contract.load_manifest(dataset)
    paths = [f"{dataset}/{shard.name}" for shard in manifest.splits["train"].shards]
    num_images, start = 0, time.monotonic()
    while time.monotonic() - start < 2:
        for path in paths:
            frames = records.read_frames(path)
            num_images += len(
                list(records.parse_examples(frames, path, manifest.features))
            )
    loop = num_images / (time.monotonic() - start)
    printed = run(
        "benchmarks.input_pipeline",
        "--read=stored",
        f"--dataset={dataset}",
        "--seconds=2",
        "--batch_size=16",
    )
    (rate,) = re.findall(r"([\d.]+) images a second", printed)
    assert float(rate) > loop / 10


def test_the_compiled_loop_reads_faster_than_record_by_record(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(record_reader, "COMPILED_AFTER", -1)
    image = np.zeros((128, 128, 3), np.uint8)
    features = {
        "key": contract.Feature("string"),
        "image": contract.Feature("uint8", image.shape),
    }
    record = b"".join(records.encode_record("key", {"image": image}, {}))
    data = b"".join(records.frame(record)) * 64
    path = tmp_path / "shard"
    path.write_bytes(data)
    info = contract.ShardInfo(path.name, 64, len(data), "")
    one_by_one, compiled = (
        record_reader.RecordReader([str(path)], [info], features) for _ in range(2)
    )
    places = np.stack([np.zeros(64, np.int64), np.arange(64)], axis=1)
    for reader in (one_by_one, compiled):
        reader.read(places)
    compiled.compile()

    def read(reader: record_reader.RecordReader) -> None:
        for _ in range(5):
            reader.read(places)

    assert min(ratios(lambda: read(compiled), lambda: read(one_by_one))) < 0.9


def test_a_run_starts_not_three_times_as_late_as_its_step(dataset: str):
    seconds, _, packages = start_up.first_step(DEBUG, dataset)
    *bare, _ = start_up.bare_step(DEBUG, SHAPE)
    assert seconds < 3 * sum(bare)
    assert "tensorflow" in packages


def test_what_is_done_beside_the_steps_is_less_than_they_are(dataset: str):
    actual = json.loads(run("benchmarks.beside", DEBUG, dataset, "0.3"))
    assert actual["with_ledger"] < 1.5
    assert actual["checkpoint"] < actual["checkpoint_every_secs"] / 10
    for name in ("log_every_steps", "image_every_steps", "eval_every_steps"):
        assert actual["between"][name] < actual[name] * actual["bare"]


def test_two_devices_are_not_twice_as_slow_as_one():
    with (
        stepping.Stepper(DEBUG, 1, SHAPE) as one,
        stepping.Stepper(DEBUG, 2, SHAPE) as two,
    ):
        rounds = stepping.take_turns([one, two], num_rounds=5, num_steps=5)
    assert np.median(rounds[:, 1] / rounds[:, 0]) < 2


def test_neighbours_are_twice_as_fast_as_a_loop():
    rng = np.random.default_rng(0)
    queries = rng.uniform(-1, 1, (20, 64, 64, 3)).astype(np.float32)
    images = rng.uniform(-1, 1, (400, 64, 64, 3)).astype(np.float32)
    keys = [str(number) for number in range(len(images))]

    def loop() -> np.ndarray:
        best = np.full(len(queries), np.inf)
        for image in images:
            for place, query in enumerate(queries):
                best[place] = min(best[place], np.sum((query - image) ** 2))
        return np.sqrt(best)

    def search() -> np.ndarray:
        return neighbours.nearest(queries, [(keys, images)]).distances

    ratios = []
    for _ in range(3):
        start = time.monotonic()
        expected = loop()
        middle = time.monotonic()
        actual = search()
        ratios.append((middle - start) / (time.monotonic() - middle))
        np.testing.assert_allclose(actual, expected, rtol=1e-4)
    assert max(ratios) > 2


def test_no_process_of_prepare_loads_tensorflow(tmp_path: pathlib.Path):
    layout.write_dataset(str(tmp_path / "raw"), 40, 0)
    command = [sys.executable, "-m", "pipeline.prepare", "--num_workers=2"]
    command += [f"--input={tmp_path}/raw", f"--output={tmp_path}/out"]
    command += ["--direct_running_mode=multi_processing"]
    packages: set[str] = set()
    num_processes = 0
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            pids = measuring.tree([process.pid])
            num_processes = max(num_processes, len(pids))
            packages.update(*map(measuring.mapped_packages, pids))
            time.sleep(0.05)
    assert process.returncode == 0
    assert num_processes > 2
    assert {"numpy", "apache_beam"} <= packages
    assert "tensorflow" not in packages
