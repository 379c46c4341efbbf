"""Measures the work of a run outside its steps.

    python -m benchmarks.overheads
    python -m benchmarks.overheads --turn_seconds=10
    python -m benchmarks.overheads --faces=DATASET_DIR --digits=DATASET_DIR

Compares three measurements with a bare loop, whose compiled step keeps no ledger and
reads no clock:

- the step of training, on the same batch in memory, in turn with the bare step;
- the work of `trainer.training.loop` between two calls of the compiled loop, by the
  task that is due. In the measured run every task is due every few steps, but the
  result counts each task as often as the config does;
- a checkpoint: the extra time of the steps that run while it is written.

`beside` is the ledger, the calls, the scalars and the checkpoints together, in percent
of a bare step. Pictures and validations have columns of their own.

Adds a row for each config to benchmarks/history.csv.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

from absl import app, flags

from benchmarks import datasets, results

_TURN_SECONDS = flags.DEFINE_float(
    "turn_seconds", 1.5, "Seconds of a turn; more reduces noise."
)

# Target duration of a call of the compiled loop, in `trainer.training.throughput`.
_CALL_SECONDS = 0.5


def add_row(config: str, dataset: str) -> None:
    """Measures the work of a config's run outside its steps, and adds a row."""
    command = [sys.executable, "-m", "benchmarks.beside", config, dataset]
    command.append(str(_TURN_SECONDS.value))
    done = subprocess.run(command, check=True, capture_output=True)
    found = json.loads(done.stdout.splitlines()[-1])
    between, step = found["between"], found["bare"]

    def percent(name: str) -> float:
        return 100 * between[name] / (found[name] * step)

    ledger = 100 * (found["with_ledger"] - 1)
    checkpoint = 100 * found["checkpoint"] / found["checkpoint_every_secs"]
    # Missing with short steps, whose calls all end at a step where a task is due.
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
