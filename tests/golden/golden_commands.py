"""The commands that made the golden files; make_golden.py and the tests run them."""

import hashlib
import itertools
import json
import os
import pathlib
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from tests import preloaded

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
EXPECTED = HERE / "expected"

# Flags of pipeline.prepare, keyed by the dataset that they make.
PREPARED = {
    "dataset": ("--image_size=16", "--shard_size=4"),
    "dataset_folder": (
        *("--source=folder", "--image_size=8", "--shard_size=4", "--seed=3"),
        *("--image_dtype=uint8", "--resize=legacy_bilinear", "--crop_size=150"),
        *("--split_fractions=0.6,0.2,0.2", "--deduplicate", "--stats"),
    ),
}
# The golden files keep only the digest of this dataset.
PREPARED_FLOAT32 = ("--image_size=8", "--image_dtype=float32", "--resize=area")

# Last steps of the interrupted run and of its continuation.
STOPPED_AT, ENDED_AT = 8, 12
_SMALL = (
    *("--config.global_batch_size=8", "--config.shuffle_block_size=2"),
    *("--config.log_every_steps=1", "--config.eval_every_steps=4"),
    *("--config.image_every_steps=8", "--config.num_picture_pairs=2"),
    *("--config.num_picture_samples=2", "--config.num_picture_traversals=1"),
    *("--config.show_neighbours=False", "--config.show_strip=False"),
)
# Dataset and flags of trainer.train, keyed by the run that they make.
TRAINED = {
    "run": (
        "dataset",
        *("--config=configs/celeba_debug.py", "--config.latent_dim=4"),
        *("--config.encoder_filters=(4,8)", "--config.decoder_filters=(4,4)"),
        *("--config.layer_defaults.kernel_size=3", "--config.condition=attributes"),
        *_SMALL,
    ),
    "run_folder": (
        "dataset_folder",
        *("--config=configs/mnist_m2.py", "--config.num_classes=2"),
        *("--config.labelled_fraction=0.5", "--config.latent_dim=4"),
        "--config.train_split=train",
        *("--config.encoder_units=(8,)", "--config.decoder_units=(8,)"),
        *("--config.optimizer=rmsprop", "--config.ema_decay=0.99"),
        *_SMALL,
    ),
}

# File that trainer.generate writes, keyed by its mode.
GENERATED = {
    "sample": "sample-test-num=2.npz",
    "transform": "transform-test-num=2.npz",
}


def run(module: str, *flags: str) -> str:
    """Runs a command to its end, and returns its output.

    Raises:
        RuntimeError: If the command failed.
    """
    done = subprocess.run(
        [preloaded.shared_python(), "-m", module, *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(flags)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def prepare(flags: Sequence[str], faces: pathlib.Path, output: pathlib.Path) -> str:
    """Prepares a dataset from CelebA's layout, or from a folder of the same images."""
    source = faces
    if "--source=folder" in flags:
        source = output.with_name(f"{output.name}-photos")
        _unpack(faces, source)
    return run("pipeline.prepare", f"--input={source}", f"--output={output}", *flags)


def _unpack(faces: pathlib.Path, photos: pathlib.Path) -> None:
    """Makes a folder of two classes, with one image stored twice."""
    with zipfile.ZipFile(faces / "img_align_celeba.zip") as archive:
        for name, member in zip(
            itertools.cycle(["even", "odd"]), sorted(archive.namelist()), strict=False
        ):
            path = photos / name / pathlib.Path(member).name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(member))
    (photos / "odd" / "copy.jpg").write_bytes(path.read_bytes())


def train(
    name: str,
    datasets: pathlib.Path,
    workdir: pathlib.Path,
    num_steps: int,
    *others: str,
) -> None:
    """Trains a run of `TRAINED`, or resumes it, with further flags."""
    dataset, *flags = TRAINED[name]
    steps = f"--config.num_train_steps={num_steps}"
    places = (f"--dataset={datasets / dataset}", f"--workdir={workdir}")
    run("trainer.train", *places, *flags, steps, *others)


def encode(export: pathlib.Path, dataset: pathlib.Path, output: pathlib.Path) -> str:
    """Encodes a dataset into latents."""
    places = (f"--model={export}", f"--dataset={dataset}", f"--output={output}")
    return run("pipeline.encode", *places)


def evaluate(workdir: pathlib.Path, inputs: pathlib.Path) -> dict[str, Any]:
    """Returns the scores of the first run on its latents.

    Args:
        workdir: Workdir of the run.
        inputs: Directory that holds the run's dataset and latents.
    """
    run(
        "trainer.evaluate",
        f"--workdir={workdir}",
        f"--dataset={inputs / 'dataset'}",
        f"--latents={inputs / 'latents'}",
        "--split=test",
        "--num_importance_samples=4",
        "--pca",
    )
    return json.loads((workdir / "evaluation/test.json").read_text())


def generate(
    workdir: pathlib.Path, dataset: pathlib.Path, mode: str, *flags: str
) -> None:
    """Writes two images, or the posteriors of a split, to the run's `generated`."""
    places = (f"--workdir={workdir}", f"--dataset={dataset}", "--num=2", "--split=test")
    run("trainer.generate", *places, f"--mode={mode}", "--draws", *flags)


def metrics(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the lines of metrics.jsonl, without speeds and memory."""
    rows = []
    for line in (workdir / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        for name in ("images_per_second", "data_wait_percent", "memory/process_mib"):
            row.pop(name, None)
        rows.append(row)
    return rows


def arrays(workdir: pathlib.Path, step: int) -> dict[str, np.ndarray]:
    """Returns the arrays of a checkpoint, sorted by name."""
    checkpoint = workdir / f"checkpoints/step-{step:09d}"
    if (checkpoint / "state.npz").exists():
        with np.load(checkpoint / "state.npz") as file:
            actual = dict(file)
    else:
        actual = load_file(checkpoint / "state.safetensors")
    return {name: actual[name] for name in sorted(actual)}


def records(dataset: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the features that the trainer reads, keyed by split and name."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "records.npz")
        done = subprocess.run(
            [
                preloaded.shared_python(),
                "-m",
                "tests.golden.read_records",
                dataset,
                path,
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        with np.load(path) as file:
            return dict(file)


def hashes(values: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Returns type, shape and sha256 of each array, keyed by name."""
    return {
        name: f"{array.dtype} {list(array.shape)} "
        f"{hashlib.sha256(array.tobytes()).hexdigest()}"
        for name, array in values.items()
    }


def expected(name: str) -> Any:
    """Returns the content of expected/NAME.json, which make_golden.py wrote."""
    return json.loads((EXPECTED / f"{name}.json").read_text())


def unpack_export(directory: pathlib.Path) -> pathlib.Path:
    """Unpacks the golden export, and returns its directory."""
    with tarfile.open(HERE / "export.tar.xz") as archive:
        archive.extractall(directory, filter="data")
    return directory / "export"
