"""Trains published systems as their authors did, and sets their figures beside ours.

    python -m benchmarks.reproduce --input=MNIST_DIR
    python -m benchmarks.reproduce --input=MNIST_DIR --system=mnist_pytorch

MNIST is prepared in a temporary directory, each system is trained by `trainer.train`
with its config, and its figure is read from metrics.jsonl. A row is added to
benchmarks/RESULTS.md for each.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags

from benchmarks import results


@dataclasses.dataclass(frozen=True)
class System:
    """A published system.

    Attributes:
        config: Module under `configs`.
        protocol: What is measured.
        published: The author's figure, in nats.
        tolerance: How far ours may be off.
        measure: Reads our figure from the lines of metrics.jsonl.
        source: Where it is published.
    """

    config: str
    protocol: str
    published: float
    tolerance: float
    measure: Callable[[Sequence[dict[str, Any]]], float]
    source: str


def last_test_loss(lines: Sequence[dict[str, Any]]) -> float:
    """Returns the loss of the last evaluation of the test split."""
    return [line["loss"] for line in lines if line["split"] == "test"][-1]


def last_epoch_train_loss(lines: Sequence[dict[str, Any]]) -> float:
    """Returns the mean training loss over the lines of the last of 30 epochs."""
    train = [line for line in lines if line["split"] == "train"]
    first = train[-1]["step"] * 29 / 30
    losses = [line["loss"] for line in train if line["step"] > first]
    return sum(losses) / len(losses)


SYSTEMS = (
    System(
        config="mnist_pytorch",
        protocol="loss of the test set after 10 epochs",
        published=105.59,
        tolerance=0.6,
        measure=last_test_loss,
        source="pytorch/examples",
    ),
    System(
        config="mnist_keras",
        protocol="mean training loss of epoch 30",
        published=146.95,
        tolerance=1.5,
        measure=last_epoch_train_loss,
        source="keras.io",
    ),
)

_INPUT = flags.DEFINE_string("input", None, "Directory of MNIST.", required=True)
_SYSTEM = flags.DEFINE_multi_enum(
    "system",
    [system.config for system in SYSTEMS],
    [system.config for system in SYSTEMS],
    "Systems to train.",
)


def train(system: System, dataset: str, workdir: pathlib.Path) -> float:
    """Trains a system, and returns the seconds it took."""
    start_seconds = time.monotonic()
    run(
        "trainer.train",
        f"--config=configs/{system.config}.py",
        f"--dataset={dataset}",
        f"--workdir={workdir}",
    )
    return time.monotonic() - start_seconds


def run(module: str, *args: str) -> None:
    """Runs one of our commands."""
    subprocess.run([sys.executable, "-m", module, *args], check=True)


def main(argv: list[str]) -> None:
    """Trains, prints and records."""
    del argv
    is_near = True
    with tempfile.TemporaryDirectory() as work:
        dataset = f"{work}/dataset"
        run(
            "pipeline.prepare",
            "--source=mnist",
            f"--input={_INPUT.value}",
            f"--output={dataset}",
        )
        for system in SYSTEMS:
            if system.config not in _SYSTEM.value:
                continue
            workdir = pathlib.Path(work, system.config)
            seconds = train(system, dataset, workdir)
            text = (workdir / "metrics.jsonl").read_text()
            ours = system.measure([json.loads(line) for line in text.splitlines()])
            difference = ours - system.published
            is_near &= abs(difference) <= system.tolerance
            results.add_row(
                "reproduce",
                {
                    "config": system.config,
                    "protocol": f"{system.protocol} ({system.source})",
                    "published": f"{system.published:.2f}",
                    "ours": f"{ours:.2f}",
                    "difference": f"{difference:+.2f}",
                    "allowed": f"{system.tolerance:.2f}",
                    "minutes": f"{seconds / 60:.1f}",
                },
            )
    if not is_near:
        sys.exit("error: a figure is further off than allowed")


if __name__ == "__main__":
    app.run(main)
