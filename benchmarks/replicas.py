"""Measures the cost of training on two virtual devices instead of one.

    python -m benchmarks.replicas

Runs the flagship's step with the same global batch in the same groups. Two processes,
one for each number of devices, take turns on one batch in memory. Both compute the same
bits on the same cores, so the limit is the time of one device. Adds a row to
benchmarks/history.csv.
"""

import pathlib

import numpy as np
from absl import app, flags

from benchmarks import results, stepping

_CONFIG = flags.DEFINE_string(
    "config_file", "configs/celeba.py", "Config file for 128 px."
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Global batch size.")
_NUM_ROUNDS = flags.DEFINE_integer("num_rounds", 7, "Turns of each number of replicas.")
_NUM_STEPS = flags.DEFINE_integer("num_steps", 2, "Steps per turn.")


def main(argv: list[str]) -> None:
    """Measures, prints and records."""
    del argv
    changes = {"global_batch_size": _BATCH_SIZE.value, "num_batch_groups": 4}
    with (
        stepping.Stepper(_CONFIG.value, 1, changes=changes) as one,
        stepping.Stepper(_CONFIG.value, 2, changes=changes) as two,
    ):
        rounds = stepping.take_turns([one, two], _NUM_ROUNDS.value, _NUM_STEPS.value)
    ratios = rounds[:, 1] / rounds[:, 0]
    results.add_row(
        "replicas",
        {
            "config": pathlib.Path(_CONFIG.value).stem,
            "global batch": str(_BATCH_SIZE.value),
            "1 device ms": f"{1e3 * np.median(rounds[:, 0]):.0f}",
            "2 devices ms": f"{1e3 * np.median(rounds[:, 1]):.0f}",
            "2 of 1": f"{np.median(ratios):.3f}",
            "of each turn": " ".join(f"{ratio:.2f}" for ratio in sorted(ratios)),
        },
    )


if __name__ == "__main__":
    app.run(main)
