"""Runs the trainer's commands as subprocesses with preloaded imports."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from tests import preloaded

# Entries of metrics.jsonl that differ between equal runs: speeds and memory.
UNREPEATED = ("images_per_second", "data_wait_percent", "memory/process_mib")

# A model for up to two devices, with one layer in encoder and decoder. It compiles in
# half the time.
SMALL = (
    "--config.num_batch_groups=2",
    "--config.encoder_filters=(8,)",
    "--config.decoder_filters=(8,)",
    "--config.base_size=16",
    "--config.show_neighbours=False",
)

ROOT = pathlib.Path(__file__).parents[2]

# A model with one block of layers, for runs that are not compared with the reference.
SMALL_MODEL = (
    "--config.encoder_filters=(4,)",
    "--config.decoder_filters=(4,)",
    "--config.base_size=16",
)


def run_module(module: str, *args: str) -> subprocess.CompletedProcess[str]:
    command = [preloaded.shared_python(), "-m", module, *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def synthesize(path: pathlib.Path, num_images: int) -> pathlib.Path:
    """Draws synthetic faces in CelebA's layout, and returns their directory."""
    flags = (f"--output={path}", f"--num_images={num_images}")
    done = run_module("pipeline.synthesize", *flags)
    assert done.returncode == 0, done.stderr
    return path


def prepare(faces: pathlib.Path, output: pathlib.Path, *flags: str) -> pathlib.Path:
    done = run_module(
        "pipeline.prepare",
        f"--input={faces}",
        f"--output={output}",
        "--image_size=32",
        "--shard_size=8",
        *flags,
    )
    assert done.returncode == 0, done.stderr
    return output


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished call of `trainer.train`: its workdir, exit code and output."""

    workdir: pathlib.Path
    returncode: int
    output: str

    def metrics(self, split: str = "train") -> dict[int, dict[str, Any]]:
        """Returns the lines of metrics.jsonl by step, without `UNREPEATED` entries."""
        lines = {}
        for text in (self.workdir / "metrics.jsonl").read_text().splitlines():
            line = json.loads(text)
            for name in UNREPEATED:
                line.pop(name, None)
            if line["split"] == split:
                assert line["step"] not in lines, "a step is written twice"
                lines[line["step"]] = line
        return lines


def start_training(
    dataset: pathlib.Path,
    workdir: pathlib.Path,
    *flags: str,
    config: str = "celeba_debug",
    module: str = "trainer.train",
    tf_config: str = "",
    prefix: Sequence[str] = (),
    python: str | None = None,
) -> subprocess.Popen[str]:
    command = [
        *prefix,
        python or preloaded.shared_python(),
        "-m",
        module,
        f"--config=configs/{config}.py",
        f"--dataset={dataset}",
        f"--workdir={workdir}",
        "--config.num_train_steps=50",
        "--config.log_every_steps=1",
        "--config.image_every_steps=25",
        "--config.eval_every_steps=25",
        *flags,
    ]
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**environment, "TF_CONFIG": tf_config},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def train(
    dataset: pathlib.Path,
    workdir: pathlib.Path,
    *flags: str,
    config: str = "celeba_debug",
    module: str = "trainer.train",
) -> Run:
    process = start_training(dataset, workdir, *flags, config=config, module=module)
    output, _ = process.communicate()
    return Run(workdir, process.returncode, output)


def stop_at_step(
    process: subprocess.Popen[str],
    workdir: pathlib.Path,
    step: int,
    number: signal.Signals,
) -> Run:
    """Sends a signal once the run has logged `step`, and waits for the run to end."""
    path = workdir / "metrics.jsonl"
    while process.poll() is None:
        if path.exists() and f'{{"step": {step}, "split": "train"' in path.read_text():
            process.send_signal(number)
            break
        time.sleep(0.02)
    output, _ = process.communicate()
    return Run(workdir, process.returncode, output)


def wait_for_step(workdir: pathlib.Path, step: int, seconds: float = 120) -> None:
    path, end = workdir / "metrics.jsonl", time.monotonic() + seconds
    while not path.exists() or f'{{"step": {step}, ' not in path.read_text():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.02)
