"""Measures the input of training beside other loaders of the same images.

    python -m benchmarks.input_pipeline --images=CELEBA_DIR \
        --peers_python=.venv-peers/bin/python

The command prepares the photographs of CELEBA_DIR as uint8 records of 128 px. The peers
get the same images as JPEG files, as one array of all pixels, or as an ArrayRecord
file. The systems take turns, each in its own process, on files that are in the page
cache. `stored` batches are uint8, as training takes them to the device; `float32`
batches are scaled on the host. `plain` reads our files with TensorFlow's own parts and
shuffles only the order of the files. A peer may run with several numbers of worker
processes; the best rate counts.

The limit is a memcpy of the images' bytes, from memory to as much other memory, by one
thread. The cached limit is a memcpy into one batch, which stays in the processor's
cache. No system that returns new batches can reach this rate. Adds a row for each
system to benchmarks/history.csv.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

import numpy as np
from absl import app, flags

from benchmarks import inputs, results
from pipeline import contract
from pipeline.formats import records

_IMAGES = flags.DEFINE_string("images", None, "CelebA directory; else faces are drawn.")
_NUM_IMAGES = flags.DEFINE_integer(
    "num_images", 8000, "Images to draw, or to make by repeating."
)
_PEERS_PYTHON = flags.DEFINE_string(
    "peers_python", None, "Python with benchmarks/peers/requirements.txt."
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images in a batch.")
_SECONDS = flags.DEFINE_float("seconds", 5.0, "Seconds of a turn.")
_REPEATS = flags.DEFINE_integer("repeats", 3, "Turns of each system.")
_READ = flags.DEFINE_enum(
    "read",
    None,
    ["stored", "float32", "plain_stored", "plain_float32"],
    "Form of the batches: only read --dataset in this form.",
)
_DATASET = flags.DEFINE_string("dataset", "", "Dataset for --read.")

_SIZE = 128
# Our batches are taken as in training, in a compiled loop that ends when scalars are
# due. The reader's loop is compiled during the warm-up.
_BATCHES_A_CALL = 100
_WARM_UP_SECONDS = 2.0
# Largest number of copied images, 0.4 GB: no cache holds much of them.
_MOST_COPIED = 8000


def read(dataset_dir: str, system: str) -> None:
    """Reads batches for some seconds, and prints the images per second.

    Args:
        dataset_dir: Directory of a dataset of uint8 images.
        system: System to read with, a value of `--read`.
    """
    import tensorflow as tf

    make = _plain_batches if system.startswith("plain") else _our_batches
    batches = make(dataset_dir, system.endswith("float32"))

    @tf.function
    def take(batches: Iterator, number: tf.Tensor) -> None:
        for _ in tf.range(number):
            next(batches)

    number = tf.constant(_BATCHES_A_CALL)
    start_seconds = time.monotonic()
    while time.monotonic() - start_seconds < _WARM_UP_SECONDS:
        take(batches, number)
    num_batches, start_seconds = 0, time.monotonic()
    while (seconds := time.monotonic() - start_seconds) < _SECONDS.value:
        take(batches, number)
        num_batches += _BATCHES_A_CALL
    print(f"{num_batches * _BATCH_SIZE.value / seconds:.1f} images a second")


def _our_batches(dataset_dir: str, is_scaled: bool) -> Iterator:
    import tensorflow as tf

    from trainer.data import input_pipeline
    from trainer.distribution import strategies

    strategy = strategies.make_strategy(num_gpus=0)
    manifest = contract.load_manifest(dataset_dir)

    def make(context: tf.distribute.InputContext) -> tf.data.Dataset:
        batches = input_pipeline.training_batches(
            manifest,
            dataset_dir,
            "train",
            seed=0,
            global_batch_size=_BATCH_SIZE.value,
            block_size=32,
            start_step=0,
            context=context,
        )
        if is_scaled:
            batches = batches.map(
                lambda batch: {**batch, "image": input_pipeline.scaled(batch["image"])},
                num_parallel_calls=tf.data.AUTOTUNE,
            ).prefetch(2)
        return batches

    return strategies.iterate(strategy, make)


def _plain_batches(dataset_dir: str, is_scaled: bool) -> Iterator:
    """Returns batches as in TensorFlow's guides: interleaved, parsed, autotuned."""
    import tensorflow as tf

    batch_size, auto = _BATCH_SIZE.value, tf.data.AUTOTUNE
    features = {"image": tf.io.FixedLenFeature([], tf.string)}

    def parse(serialized: tf.Tensor) -> tf.Tensor:
        data = tf.io.parse_example(serialized, features)["image"]
        images = tf.io.decode_raw(data, tf.uint8)
        images = tf.reshape(images, [batch_size, _SIZE, _SIZE, 3])
        return tf.cast(images, tf.float32) * (2 / 255) - 1 if is_scaled else images

    files = tf.data.Dataset.list_files(f"{dataset_dir}/*-train.tfrecord-*").repeat()
    records = files.interleave(
        tf.data.TFRecordDataset,
        cycle_length=8,
        num_parallel_calls=auto,
        deterministic=False,
    )
    batches = records.batch(batch_size).map(parse, num_parallel_calls=auto)
    return iter(batches.prefetch(auto))


def memcpy_rate() -> float:
    """Returns images per second of copying all their bytes to other memory."""
    num_images = min(_NUM_IMAGES.value, _MOST_COPIED)
    source = np.ones((num_images, _SIZE * _SIZE * 3), np.uint8)
    return _copies_per_second([source], np.ones_like(source))


def cached_memcpy_rate() -> float:
    """Returns images per second of copying batches to the same memory."""
    shape = (_BATCH_SIZE.value, _SIZE * _SIZE * 3)
    source = np.ones((16, *shape), np.uint8)
    return _copies_per_second(source, np.ones(shape, np.uint8))


def _copies_per_second(
    sources: Sequence[np.ndarray] | np.ndarray, target: np.ndarray
) -> float:
    """Copies sources to a target for a second, and returns rows per second."""
    num_rows, start_seconds = 0, time.monotonic()
    while (seconds := time.monotonic() - start_seconds) < 1:
        for source in sources:
            np.copyto(target, source)
            num_rows += len(source)
    return num_rows / seconds


def _rate(command: Sequence[str]) -> float:
    output = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return float(re.findall(r"([\d.]+) images a second", output)[-1])


def _systems(work: str, dataset: str) -> dict[str, list[list[str]]]:
    """Returns commands by system; the fastest command of a system counts."""
    common = [f"--batch_size={_BATCH_SIZE.value}", f"--seconds={_SECONDS.value}"]
    own = [sys.executable, "-m", "benchmarks.input_pipeline", *common]
    own.append(f"--dataset={dataset}")
    found = {
        "ours, stored": [[*own, "--read=stored"]],
        "ours, float32": [[*own, "--read=float32"]],
        "plain tf.data, stored": [[*own, "--read=plain_stored"]],
        "plain tf.data, float32": [[*own, "--read=plain_float32"]],
    }
    if _PEERS_PYTHON.value:
        peer = [_PEERS_PYTHON.value, "benchmarks/peers/loaders.py", f"--data={work}"]
        peer += common
        for name, loader, workers in (
            ("PyTorch DataLoader, JPEG", "torch_jpeg", (2,)),
            ("PyTorch DataLoader, arrays", "torch_arrays", (0, 2)),
            ("grain, ArrayRecord", "grain", (0, 2)),
        ):
            found[name] = [
                [*peer, f"--loader={loader}", f"--workers={num}"] for num in workers
            ]
    return found


def _make_data(work: str) -> str:
    """Makes the data of all systems, and returns the directory of our dataset."""
    dataset = os.path.join(work, "dataset")
    raw = inputs.make(os.path.join(work, "raw"), _NUM_IMAGES.value, _IMAGES.value)
    command = [sys.executable, "-m", "pipeline.prepare", f"--input={raw}"]
    command += [f"--output={dataset}", "--image_dtype=uint8"]
    subprocess.run(command, check=True)
    inputs.extract(raw, os.path.join(work, "files"))
    manifest = json.loads(pathlib.Path(dataset, "manifest.json").read_text())
    names = [shard["name"] for shard in manifest["splits"]["train"]["shards"]]
    features = contract.load_manifest(dataset).features
    images = [
        image
        for name in names
        for path in [os.path.join(dataset, name)]
        for _, image, _ in records.parse_examples(
            records.read_frames(path), path, features
        )
    ]
    np.save(os.path.join(work, "images.npy"), np.stack(images))
    return dataset


def main(argv: Sequence[str]) -> None:
    """Measures, prints and records."""
    del argv
    if _READ.value:
        read(_DATASET.value, _READ.value)
        sys.stdout.flush()
        os._exit(0)  # Skip the clean-up of an open iterator; see `strategies.iterate`.
    with tempfile.TemporaryDirectory() as work:
        systems = _systems(work, _make_data(work))
        rates: dict[str, list[float]] = {name: [] for name in systems}
        limits = [(memcpy_rate(), cached_memcpy_rate())]
        for _ in range(_REPEATS.value):
            for name, commands in systems.items():
                rates[name].append(max(map(_rate, commands)))
            limits.append((memcpy_rate(), cached_memcpy_rate()))
    memcpy, cached = np.median(limits, axis=0)
    ours = np.median(rates["ours, stored"])
    for name, found in rates.items():
        rate = float(np.median(found))
        row = {
            "system": name,
            "img/s": f"{rate:.0f} ({', '.join(f'{each:.0f}' for each in found)})",
            "of memcpy": f"{rate / memcpy:.3f} of {memcpy:.0f}",
            "of a cached memcpy": f"{rate / cached:.3f} of {cached:.0f}",
            "ours is": f"{ours / rate:.1f}x",
        }
        results.add_row("input_pipeline", row)


if __name__ == "__main__":
    app.run(main)
