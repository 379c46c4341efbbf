"""Trains published systems as their authors did, and compares the results.

    python -m benchmarks.reproduce --input=MNIST_DIR
    python -m benchmarks.reproduce --input=MNIST_DIR --system=pytorch
    python -m benchmarks.reproduce --input=MNIST_DIR --system=pytorch --num_steps=100

Prepares MNIST in a temporary directory, and trains each system by `trainer.train` with
its config. The result comes from metrics.jsonl or from `trainer.evaluate`. Adds a row
for each system to benchmarks/history.csv. A result outside the tolerance is an error,
unless --num_steps shortened the training.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from absl import app, flags

from benchmarks import results
from configs import mnist_iwae
from trainer.runs import metrics_file


@dataclasses.dataclass(frozen=True)
class System:
    """A published system.

    Attributes:
        config: Module under `configs`.
        protocol: Description of the measured quantity.
        published: The author's result, in nats.
        measure: Function that returns our result for a workdir, in nats.
        source: Source of the published result.
        tolerance: Largest allowed difference in nats; None if we train for fewer
            steps than the author.
        flags: Further flags of `trainer.train`.
    """

    config: str
    protocol: str
    published: float
    measure: Callable[[pathlib.Path], float]
    source: str
    tolerance: float | None = None
    flags: tuple[str, ...] = ()


def read_metrics(workdir: pathlib.Path, split: str) -> list[dict[str, Any]]:
    """Returns the lines of one split in metrics.jsonl."""
    lines, _ = metrics_file.read(workdir / metrics_file.NAME)
    return [line for line in lines if line["split"] == split]


def last_test_loss(workdir: pathlib.Path) -> float:
    """Returns the loss of the last evaluation of the test split."""
    return read_metrics(workdir, "test")[-1]["loss"]


def last_epoch_train_loss(workdir: pathlib.Path) -> float:
    """Returns the mean training loss over the lines of the last of 30 epochs."""
    lines = read_metrics(workdir, "train")
    first = lines[-1]["step"] * 29 / 30
    losses = [line["loss"] for line in lines if line["step"] > first]
    return sum(losses) / len(losses)


def importance_nll(workdir: pathlib.Path) -> float:
    """Estimates -log p(x) of the first 1,000 test images, in nats."""
    scores = workdir / "scores.json"
    run(
        "trainer.evaluate",
        f"--workdir={workdir}",
        "--split=test",
        "--num_importance_samples=5000",
        "--num_importance_examples=1000",
        f"--output={scores}",
    )
    return json.loads(scores.read_text())["nll_importance"]


def shortened_iwae(num_samples: int, published: float) -> System:
    """Returns Burda et al.'s system for three stages, 13 of its 3,280 epochs."""
    return System(
        config="mnist_iwae",
        protocol=f"test NLL, k = {num_samples}, after 13 of 3,280 epochs",
        published=published,
        measure=importance_nll,
        source="Burda et al. 2016",
        flags=(
            f"--config.num_importance_samples={num_samples}",
            f"--config.num_train_steps={mnist_iwae.stage_end(2)}",
        ),
    )


SYSTEMS = {
    "pytorch": System(
        config="mnist_pytorch",
        protocol="loss of the test set after 10 epochs",
        published=105.59,
        measure=last_test_loss,
        source="pytorch/examples",
        tolerance=0.6,
    ),
    "keras": System(
        config="mnist_keras",
        protocol="mean training loss of epoch 30",
        published=146.95,
        measure=last_epoch_train_loss,
        source="keras.io",
        tolerance=1.5,
    ),
    "iwae_1": shortened_iwae(1, published=86.76),
    "iwae_5": shortened_iwae(5, published=85.54),
}

_INPUT = flags.DEFINE_string("input", None, "Directory of MNIST.", required=True)
_SYSTEM = flags.DEFINE_multi_enum(
    "system", list(SYSTEMS), list(SYSTEMS), "Systems to train."
)
_NUM_STEPS = flags.DEFINE_integer(
    "num_steps", None, "Steps to train (default: the authors' number).", lower_bound=1
)


def run(module: str, *args: str) -> None:
    """Runs one of our commands."""
    subprocess.run([sys.executable, "-m", module, *args], check=True)


def shortened(system: System, num_steps: int) -> System:
    """Returns a system that trains for `num_steps`, without a tolerance."""
    return dataclasses.replace(
        system,
        protocol=f"{system.protocol}, but after {num_steps} steps",
        tolerance=None,
        flags=(*system.flags, f"--config.num_train_steps={num_steps}"),
    )


def reproduce(system: System, dataset: str, workdir: pathlib.Path) -> bool:
    """Trains a system, adds its row, and returns whether it is within tolerance."""
    start_seconds = time.monotonic()
    run(
        "trainer.train",
        f"--config=configs/{system.config}.py",
        f"--dataset={dataset}",
        f"--workdir={workdir}",
        *system.flags,
    )
    ours = system.measure(workdir)
    seconds = time.monotonic() - start_seconds
    difference = ours - system.published
    results.add_row(
        "reproduce",
        {
            "config": system.config,
            "protocol": f"{system.protocol} ({system.source})",
            "published": f"{system.published:.2f}",
            "ours": f"{ours:.2f}",
            "difference": f"{difference:+.2f}",
            "allowed": f"{system.tolerance:.2f}" if system.tolerance else "-",
            "minutes": f"{seconds / 60:.1f}",
        },
    )
    return system.tolerance is None or abs(difference) <= system.tolerance


def main(argv: list[str]) -> None:
    """Trains, prints and records."""
    del argv
    chosen = {name: SYSTEMS[name] for name in _SYSTEM.value}
    if _NUM_STEPS.value is not None:
        chosen = {
            name: shortened(system, _NUM_STEPS.value) for name, system in chosen.items()
        }
    with tempfile.TemporaryDirectory() as work:
        dataset = f"{work}/dataset"
        run(
            "pipeline.prepare",
            "--source=mnist",
            f"--input={_INPUT.value}",
            f"--output={dataset}",
        )
        are_near = [
            reproduce(system, dataset, pathlib.Path(work, name))
            for name, system in chosen.items()
        ]
    if not all(are_near):
        sys.exit("error: a figure is further off than allowed")


if __name__ == "__main__":
    app.run(main)
