"""Measures what a run does beside its steps.

    python -m benchmarks.overheads
    python -m benchmarks.overheads --turn_seconds=10
    python -m benchmarks.overheads --faces=DATASET_DIR --digits=DATASET_DIR

Three things beside a bare loop, whose compiled step keeps no ledger and reads no clock:

- the step of training, on the same batch in memory, in turn with the bare one;
- what `trainer.training.loop` does between two calls of the compiled loop, by what is
  due then, in a run with all of it due every few steps; here it counts as often as the
  config has it due;
- a checkpoint: steps while one is written, beyond the same steps without.

`beside` is the ledger, the scalars and the checkpoints together, in percent of a bare
step; pictures and validations, which are work of their own, have a column each.

A row for each config is added to benchmarks/RESULTS.md.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

from absl import app, flags

from benchmarks import datasets, results

_TURN_SECONDS = flags.DEFINE_float(
    "turn_seconds", 1.5, "Of steps that are timed together; more for less noise."
)

# What a call of the compiled loop aims at, by `trainer.training.throughput`.
_CALL_SECONDS = 0.5


def add_row(config: str, dataset: str) -> None:
    """Adds the row of what a run does beside its steps."""
    command = [sys.executable, "-m", "benchmarks.beside", config, dataset]
    command.append(str(_TURN_SECONDS.value))
    done = subprocess.run(command, check=True, capture_output=True)
    found = json.loads(done.stdout.splitlines()[-1])
    between, step = found["between"], found["bare"]

    def percent(name: str) -> float:
        return 100 * between[name] / (found[name] * step)

    ledger = 100 * (found["with_ledger"] - 1)
    checkpoint = 100 * found["checkpoint"] / found["checkpoint_every_secs"]
    # With short steps every call ends where something is due.
    call = between.get("", 0.0)
    calls = 100 * call / max(step, _CALL_SECONDS)
    beside = ledger + calls + percent("log_every_steps") + checkpoint
    results.add_row(
        "overheads",
        {
            "config": pathlib.Path(config).stem,
            "bare step ms": f"{1e3 * step:.2f}",
            "ledger, clocks %": f"{ledger:+.2f}",
            "calls ms": f"{1e3 * call:.2f}",
            "scalars ms": f"{1e3 * between['log_every_steps']:.1f}",
            "checkpoint ms": f"{1e3 * found['checkpoint']:.0f}",
            "beside %": f"{beside:+.2f}",
            "pictures ms": f"{1e3 * between['image_every_steps']:.0f}",
            "pictures %": f"{percent('image_every_steps'):.2f}",
            "validation ms": f"{1e3 * between['eval_every_steps']:.0f}",
            "validation %": f"{percent('eval_every_steps'):.2f}",
        },
    )


def main(argv: list[str]) -> None:
    """Measures, prints and records."""
    del argv
    with tempfile.TemporaryDirectory() as work:
        add_row("configs/celeba.py", datasets.faces(work))
        add_row("configs/mnist_hafner.py", datasets.digits(work))


if __name__ == "__main__":
    app.run(main)
