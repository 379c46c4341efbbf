"""Measures the time from the command to the first step, and the memory until then.

    python -m benchmarks.start_up
    python -m benchmarks.start_up --faces=DATASET_DIR --digits=DATASET_DIR

Starts trainer.train with a new workdir. The clock stops at the line of step 1 in
metrics.jsonl. The time includes imports, the dataset, the model, the files and pictures
of step 0, the tracing and the step. In turns with trainer.train, a bare process imports
TensorFlow, traces the same step and runs it once, on one batch in memory. The limit is
the bare process's import and tracing. Without a dataset, the benchmark draws 1,000
faces, and makes 1,000 digits of noise. Adds a row for each config to
benchmarks/history.csv; the times in the row are medians.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

import numpy as np
from absl import app, flags

from benchmarks import datasets, measuring, results

_NUM_RUNS = flags.DEFINE_integer("num_runs", 3, "Runs of each command.")

# The same step on one batch in memory, timed from the start of the process.
_BARE = """
import time
start = time.monotonic()
import tensorflow as tf
imported = time.monotonic()
import json, re, sys
from benchmarks import compiled
from trainer.distribution import strategies
from trainer.numerics import exact
config_file, image_shape = json.loads(sys.argv[1])
exact.configure()
strategy = strategies.make_strategy()
config = compiled.load_config(config_file, strategy, {})
run = compiled.make_run(config, strategy, image_shape)
arguments = run.batches, tf.constant(1, tf.int64)
made = time.monotonic()
run.steps.trace(run.batches)
traced = time.monotonic()
run.steps.train(*arguments)[0].numpy()
stepped = time.monotonic()
[peak] = re.findall(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())
print(json.dumps([imported - start, made - imported, traced - made, stepped - traced,
                  1024 * int(peak)]))
"""


def first_step(config: str, dataset: str) -> tuple[float, int, set[str]]:
    """Trains until the first step, and kills the process.

    Returns:
        Seconds to the first step, peak resident memory in bytes, and the packages whose
        compiled modules the process has loaded.
    """
    with tempfile.TemporaryDirectory() as workdir:
        command = [sys.executable, "-m", "trainer.train", f"--config={config}"]
        command += [f"--dataset={dataset}", f"--workdir={workdir}"]
        command += ["--config.log_every_steps=1"]
        start_seconds = time.monotonic()
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                metrics = pathlib.Path(workdir, "metrics.jsonl")
                while not any(step == 1 for step in _steps(metrics)):
                    if process.poll() is not None:
                        raise RuntimeError(f"{process.returncode}: {command}")
                    time.sleep(0.02)
                seconds = time.monotonic() - start_seconds
                peak_bytes = measuring.peak_resident_bytes(process.pid)
                return seconds, peak_bytes, measuring.mapped_packages(process.pid)
            finally:
                measuring.kill([process.pid])


def bare_step(config: str, image_shape: Sequence[int]) -> list[float]:
    """Returns seconds of import, making, tracing and the first step, and peak bytes."""
    arguments = json.dumps([config, image_shape])
    found = subprocess.run(
        [sys.executable, "-c", _BARE, arguments],
        check=True,
        capture_output=True,
    )
    return json.loads(found.stdout)


def _steps(metrics: pathlib.Path) -> Iterator[int]:
    lines = metrics.read_text().splitlines(keepends=True) if metrics.exists() else []
    for line in lines:
        if line.endswith("\n") and json.loads(line)["split"] == "train":
            yield json.loads(line)["step"]


def measure(config: str, dataset: str, image_shape: Sequence[int]) -> None:
    """Measures a config, and adds its row."""
    ours, bare = [], []
    for _ in range(_NUM_RUNS.value):
        ours.append(first_step(config, dataset))
        bare.append(bare_step(config, image_shape))
    seconds = statistics.median(run[0] for run in ours)
    *parts, bare_bytes = np.median(np.array(bare), axis=0)
    imported, made, traced, stepped = parts
    results.add_row(
        "start_up",
        {
            "config": pathlib.Path(config).stem,
            "to the first step s": f"{seconds:.1f}",
            "import TensorFlow s": f"{imported:.1f}",
            "trace s": f"{traced:.1f}",
            "other imports, model s": f"{made:.1f}",
            "first step s": f"{stepped:.1f}",
            "of import + trace": f"{seconds / (imported + traced):.2f}",
            "of the bare process": f"{seconds / sum(parts):.2f}",
            "peak MB": f"{statistics.median(run[1] for run in ours) / 1e6:.0f}",
            "bare peak MB": f"{bare_bytes / 1e6:.0f}",
            "Beam": "yes" if "apache_beam" in ours[0][2] else "no",
        },
    )


def main(argv: list[str]) -> None:
    """Measures, prints and records."""
    del argv
    with tempfile.TemporaryDirectory() as work:
        measure("configs/celeba.py", datasets.faces(work), (128, 128, 3))
        measure("configs/mnist_hafner.py", datasets.digits(work), (28, 28, 1))


if __name__ == "__main__":
    app.run(main)
