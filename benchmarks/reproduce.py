"""Trains published systems as their authors did, and compares the results.

    python -m benchmarks.reproduce --input=MNIST_DIR
    python -m benchmarks.reproduce --input=MNIST_DIR --system=pytorch
    python -m benchmarks.reproduce --input=MNIST_DIR --system=pytorch --num_steps=100

Prepares MNIST in a temporary directory, grey or binarised, and trains each system by
`trainer.train` with its config. The result comes from metrics.jsonl or from
`trainer.evaluate`. Adds a row for each system to benchmarks/history.csv. A result
outside the tolerance is an error, unless --num_steps shortened the training.
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
        data: Images: `mnist`, or `static` for a substitute of statically binarised
            MNIST; see `binarize`.
    """

    config: str
    protocol: str
    published: float
    measure: Callable[[pathlib.Path], float]
    source: str
    tolerance: float | None = None
    flags: tuple[str, ...] = ()
    data: str = "mnist"


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


def importance_nll(
    workdir: pathlib.Path, num_samples: int = 5000, num_examples: int = 1000
) -> float:
    """Estimates -log p(x) of the first test images, in nats."""
    scores = workdir / "scores.json"
    run(
        "trainer.evaluate",
        f"--workdir={workdir}",
        "--split=test",
        f"--num_importance_samples={num_samples}",
        f"--num_importance_examples={num_examples}",
        f"--output={scores}",
    )
    return json.loads(scores.read_text())["nll_importance"]


def static_nll(workdir: pathlib.Path) -> float:
    """Estimates -log p(x) of all test images by 200 draws, in nats."""
    return importance_nll(workdir, num_samples=200, num_examples=10_000)


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
    "static": System(
        config="mnist_static",
        protocol="test NLL by 200 draws, on substitutes for the published images",
        published=89.78,
        measure=static_nll,
        source="benchmark_VAE",
        tolerance=0.5,
        data="static",
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


def prepare(data: str, folder: pathlib.Path) -> str:
    """Prepares the images that `System.data` names, and returns the dataset's path."""
    source, images = "mnist", _INPUT.value
    if data == "static":
        source, images = "binarized_mnist", str(folder / "amat")
        run("benchmarks.binarize", f"--input={_INPUT.value}", f"--output={images}")
    dataset = str(folder / "dataset")
    run(
        "pipeline.prepare",
        f"--source={source}",
        f"--input={images}",
        f"--output={dataset}",
    )
    return dataset


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
        datasets = {
            data: prepare(data, pathlib.Path(work, data))
            for data in {system.data for system in chosen.values()}
        }
        are_near = [
            reproduce(system, datasets[system.data], pathlib.Path(work, name))
            for name, system in chosen.items()
        ]
    if not all(are_near):
        sys.exit("error: a figure is further off than allowed")


if __name__ == "__main__":
    app.run(main)
