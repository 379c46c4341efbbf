"""Measures the time from a kill to the next step, and the bytes read until then.

    python -m benchmarks.resume --dataset=DATASET_DIR

Trains the flagship to a checkpoint in the middle of an epoch, and kills it. Then the
same command starts again. The clock stops at the first step that the killed run had not
saved. The time includes imports, the checkpoint, the tracing and the step itself. After
that the input pipeline alone starts at each step of --read_steps, in its own process.
The benchmark counts the bytes that the process reads until the first batch, including
read-ahead, and converts them to records. Adds a row for each step to
benchmarks/history.csv.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from absl import app, flags

from benchmarks import results

_DATASET = flags.DEFINE_string(
    "dataset", None, "Dataset directory of 128 px.", required=True
)
_CONFIG = flags.DEFINE_string("config_file", "configs/celeba.py", "Config file.")
_NUM_STEPS = flags.DEFINE_integer("num_steps", 12, "Steps before the kill.")
_READ_STEPS = flags.DEFINE_list("read_steps", ["0", "50", "200"], "Steps to read from.")
_NUM_RESUMES = flags.DEFINE_integer("num_resumes", 3, "Resumes to time.")

# Runs in its own process, so all counted reads are reads of the shards.
_READ_FIRST_BATCH = """
import json, pathlib, sys, time
import tensorflow as tf
from pipeline import contract
from trainer.data import input_pipeline
dataset, split, seed, batch_size, block_size, step = json.loads(sys.argv[1])
manifest = contract.load_manifest(dataset)
def bytes_read():
    [line] = [line for line in open("/proc/self/io") if line.startswith("rchar")]
    return int(line.split()[1])
before, start = bytes_read(), time.monotonic()
next(iter(input_pipeline.training_batches(
    manifest, dataset, split, seed=seed, global_batch_size=batch_size,
    block_size=block_size, start_step=step,
    context=tf.distribute.InputContext(1, 0, 1))))
seconds, num_bytes = time.monotonic() - start, bytes_read() - before
info = manifest.splits[split]
print(json.dumps([num_bytes, info.num_bytes / info.num_examples, seconds]))
"""


def _start(workdir: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "trainer.train", f"--config={_CONFIG.value}"]
    command += [f"--dataset={_DATASET.value}", f"--workdir={workdir}"]
    command += ["--config.log_every_steps=1", "--config.checkpoint_every_secs=1"]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def _wait_for(workdir: str, is_reached: Callable[[int], bool]) -> None:
    """Waits until the newest step in metrics.jsonl fulfils a condition."""
    path = pathlib.Path(workdir, "metrics.jsonl")
    while True:
        text = path.read_text() if path.exists() else ""
        if text.endswith("\n") and is_reached(
            json.loads(text.splitlines()[-1])["step"]
        ):
            return
        time.sleep(0.02)


def _saved_step(workdir: str) -> int:
    """Returns the step of the newest checkpoint, or -1 if there is none."""
    paths = pathlib.Path(workdir, "checkpoints").glob("step-*")
    return max((int(path.name[5:]) for path in paths), default=-1)


def seconds_to_next_step(workdir: str) -> float:
    """Resumes the run of a workdir, times its first new step, and kills it.

    Returns:
        Seconds from the start of the program to the first step after its checkpoint.
    """
    step, start_seconds = _saved_step(workdir), time.monotonic()
    process = _start(workdir)
    try:
        # The program first cuts off the killed run's lines beyond the checkpoint.
        _wait_for(workdir, lambda found: found <= step)
        _wait_for(workdir, lambda found: found > step)
        return time.monotonic() - start_seconds
    finally:
        process.kill()
        process.wait()


def reads_to_first_batch(workdir: str, step: int) -> tuple[int, float, float]:
    """Returns bytes read, bytes per record, and seconds for the first batch."""
    config = json.loads(pathlib.Path(workdir, "config.json").read_text())
    arguments = [os.path.abspath(_DATASET.value), config["train_split"]]
    arguments += [config["seed"], config["global_batch_size"]]
    arguments += [config["shuffle_block_size"], step]
    found = subprocess.run(
        [sys.executable, "-c", _READ_FIRST_BATCH, json.dumps(arguments)],
        check=True,
        capture_output=True,
    )
    num_bytes, record_bytes, seconds = json.loads(found.stdout)
    return num_bytes, record_bytes, seconds


def main(argv: list[str]) -> None:
    """Measures, prints and records."""
    del argv
    with tempfile.TemporaryDirectory() as workdir:
        process = _start(workdir)
        _wait_for(workdir, lambda found: found >= _NUM_STEPS.value)
        while _saved_step(workdir) < 0:
            time.sleep(0.02)
        process.kill()
        process.wait()
        seconds = [seconds_to_next_step(workdir) for _ in range(_NUM_RESUMES.value)]
        for start_step in map(int, _READ_STEPS.value):
            reads = reads_to_first_batch(workdir, start_step)
            num_bytes, record_bytes, batch_seconds = reads
            results.add_row(
                "resume",
                {
                    "config": pathlib.Path(_CONFIG.value).stem,
                    "read from step": str(start_step),
                    "kill to next step s": "/".join(f"{one:.1f}" for one in seconds),
                    "first batch s": f"{batch_seconds:.2f}",
                    "MB read": f"{num_bytes / 1e6:.1f}",
                    "records read": f"{num_bytes / record_bytes:.1f}",
                },
            )


if __name__ == "__main__":
    app.run(main)
