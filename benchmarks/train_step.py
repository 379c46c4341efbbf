"""Measures a training step of the flagship beside PyTorch's, on the CPU.

    python -m benchmarks.train_step --dataset=DIR --peers_python=.venv-peers/bin/python

Each system trains configs/celeba.py in its own process, with the same number of
threads. The systems take turns. `ours` is the compiled step of trainer.train with its
input, its ledger and its average of the weights. It runs with four groups, which up to
four devices share, and with one group, for a run that stays on one device. The limit is
the product of large float32 matrices on the same cores, by NumPy or TensorFlow,
whichever is faster. A training step counts as three forward passes. Adds a row for each
system to benchmarks/history.csv.
"""

import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import datasets, results
from pipeline.process.limits import num_cores

_DATASET = flags.DEFINE_string(
    "dataset", None, "Dataset of 128 px; else faces are drawn."
)
_PEERS_PYTHON = flags.DEFINE_string(
    "peers_python", None, "Python with benchmarks/peers/requirements.txt."
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images in a step.")
_SECONDS = flags.DEFINE_float("seconds", 15.0, "Seconds of a turn.")
_REPEATS = flags.DEFINE_integer("repeats", 3, "Turns of each system.")
_GROUPS = flags.DEFINE_integer(
    "groups", None, "Batch groups: train with these only, and print the rate."
)

_STEPS_A_CALL = 4


def train_ours(dataset: str) -> None:
    """Trains for some seconds, and prints the images per second."""
    import tensorflow as tf

    from configs import celeba
    from pipeline import contract
    from trainer.data import input_pipeline
    from trainer.distribution import strategies
    from trainer.numerics import exact
    from trainer.optimization import objectives
    from trainer.runs import settings
    from trainer.runs import state as states
    from trainer.training.steps import Steps

    exact.configure()
    config = celeba.get_config()
    config.num_batch_groups = _GROUPS.value
    config.global_batch_size = _BATCH_SIZE.value
    strategy = strategies.make_strategy(num_gpus=0)
    config = settings.resolve(config, 1)
    manifest = contract.load_manifest(dataset)
    objective = objectives.make_objective(config, math.prod(manifest.image_shape))
    with strategy.scope():
        state = states.make_state(config, manifest)
    steps = Steps.of_run(strategy, state, objective, config, manifest.image_shape)
    batches = strategies.iterate(
        strategy,
        lambda context: input_pipeline.training_batches(
            manifest,
            dataset,
            "train",
            seed=0,
            global_batch_size=_BATCH_SIZE.value,
            block_size=32,
            start_step=0,
            context=context,
        ),
    )
    num_steps = tf.constant(_STEPS_A_CALL, tf.int64)
    steps.train(batches, num_steps)
    num_done, start_seconds = 0, time.monotonic()
    while (seconds := time.monotonic() - start_seconds) < _SECONDS.value:
        steps.train(batches, num_steps)
        num_done += _STEPS_A_CALL
    rate = num_done * _BATCH_SIZE.value / seconds
    print(f"{rate:.1f} images a second, {step_flops(state.vae):.4g} FLOP an image")
    print(f"{matmul_flops(tf.linalg.matmul):.4g} FLOP a second of a product")


def step_flops(vae: Any) -> float:
    """Returns the floating-point operations of a training step for one image."""
    total = 0
    for model in (vae.encoder, vae.decoder):
        for layer in model.layers:
            if not hasattr(layer, "kernel"):
                continue
            size = math.prod(layer.kernel.shape)
            is_transposed = "Transpose" in type(layer).__name__
            # A kernel acts once per output position; if transposed, per input position.
            places = (layer.input if is_transposed else layer.output).shape[1:-1]
            total += 2 * size * math.prod(places)
    return 3.0 * total


def matmul_flops(multiply: Callable[[Any, Any], Any] = np.matmul) -> float:
    """Returns the float32 operations per second of a large matrix product."""
    side = 4096
    a, b = (np.ones((side, side), np.float32) for _ in range(2))
    seconds = []
    for _ in range(4):
        start_seconds = time.monotonic()
        np.asarray(multiply(a, b))
        seconds.append(time.monotonic() - start_seconds)
    return 2 * side**3 / min(seconds)


def main(argv: Sequence[str]) -> None:
    """Measures, prints and records."""
    del argv
    if _GROUPS.value is not None:
        train_ours(_DATASET.value or "")
        sys.stdout.flush()
        os._exit(0)  # Skip the clean-up of an open iterator; see `strategies.iterate`.
    with tempfile.TemporaryDirectory() as work:
        _compare(_DATASET.value or datasets.faces(work))


def _compare(dataset: str) -> None:
    own = [sys.executable, "-m", "benchmarks.train_step", f"--dataset={dataset}"]
    peer = [_PEERS_PYTHON.value, "benchmarks/peers/torch_vae.py"]
    threads = f"--threads={num_cores()}"
    commands = {
        "ours, 4 groups": [*own, "--groups=4"],
        "ours, 1 group": [*own, "--groups=1"],
    }
    if _PEERS_PYTHON.value:
        commands |= {
            "PyTorch eager": [*peer, "--mode=eager", threads],
            "PyTorch compiled": [*peer, "--mode=compile", threads],
        }
    common = [f"--batch_size={_BATCH_SIZE.value}", f"--seconds={_SECONDS.value}"]
    rates: dict[str, list[float]] = {name: [] for name in commands}
    flops, peaks = 0.0, [matmul_flops()]
    for _ in range(_REPEATS.value):
        for name, command in commands.items():
            output = subprocess.run(
                [*command, *common], check=True, capture_output=True, text=True
            ).stdout
            rates[name].append(float(re.findall(r"([\d.]+) images", output)[0]))
            for found in re.findall(r"([\d.e+]+) FLOP an image", output):
                flops = float(found)
            for found in re.findall(r"([\d.e+]+) FLOP a second", output):
                peaks.append(float(found))
        peaks.append(matmul_flops())
    peak = max(peaks)
    best_peer = max(
        (np.median(found) for name, found in rates.items() if "PyTorch" in name),
        default=math.nan,
    )
    for name, found in rates.items():
        rate = float(np.median(found))
        row = {
            "system": name,
            "batch": str(_BATCH_SIZE.value),
            "img/s": f"{rate:.1f} ({', '.join(f'{each:.1f}' for each in found)})",
            "of the best peer": f"{rate / best_peer:.2f}",
            "GFLOP/s": f"{rate * flops / 1e9:.0f}",
            "of matrix product": f"{rate * flops / peak:.2f} of {peak / 1e9:.0f}",
        }
        results.add_row("train_step", row)


if __name__ == "__main__":
    app.run(main)
