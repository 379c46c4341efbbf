"""Measures the cost of a fixed number of threads that share a kernel's work.

    python -m benchmarks.threads

Runs the flagship's step on one device. Processes with 1, 2 and 8 threads take turns on
one batch in memory. Training uses the same number of threads on every machine, because
the number decides how sums are rounded. Adds a row to benchmarks/history.csv.
"""

import os
import pathlib

import numpy as np
from absl import app, flags

from benchmarks import results, stepping

_CONFIG = flags.DEFINE_string(
    "config_file", "configs/celeba.py", "Config file for 128 px."
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images per step.")
_THREADS = flags.DEFINE_list("threads", ["1", "2", "8"], "Numbers of threads.")
_NUM_ROUNDS = flags.DEFINE_integer("num_rounds", 7, "Turns of each process.")
_NUM_STEPS = flags.DEFINE_integer("num_steps", 2, "Steps per turn.")


def main(argv: list[str]) -> None:
    """Measures, prints and records."""
    del argv
    changes = {"global_batch_size": _BATCH_SIZE.value, "num_batch_groups": 4}
    numbers = [int(text) for text in _THREADS.value]
    num_cores = len(os.sched_getaffinity(0))
    if num_cores not in numbers:
        numbers.append(num_cores)
    steppers = [
        stepping.Stepper(_CONFIG.value, changes=changes, num_threads=number)
        for number in numbers
    ]
    try:
        rounds = stepping.take_turns(steppers, _NUM_ROUNDS.value, _NUM_STEPS.value)
    finally:
        for stepper in steppers:
            stepper.close()
    own = numbers.index(num_cores)
    speeds = rounds[:, [own]] / rounds
    results.add_row(
        "threads",
        {
            "config": pathlib.Path(_CONFIG.value).stem,
            "batch": str(_BATCH_SIZE.value),
            "cores": str(num_cores),
            "ms with a thread per core": f"{1e3 * np.median(rounds[:, own]):.0f}",
            **{
                f"speed with {number}": f"{np.median(speed):.3f}"
                for number, speed in zip(numbers, speeds.T, strict=True)
            },
        },
    )


if __name__ == "__main__":
    app.run(main)
