"""Measures pipeline.prepare against the bare cost of decoding and resizing.

    python -m benchmarks.prepare --num_images=20000
    python -m benchmarks.prepare --num_images=20000 --tile=CELEBA_DIR
    python -m benchmarks.prepare --input=CELEBA_DIR

A limit is what a pool of processes reaches that decode, crop and resize images which
they hold in memory, and do nothing else: once with Pillow alone, the reference, and
once with the pipeline's own decoder before Pillow's resize. Both are measured before
and after, in the same minutes. A row is added to benchmarks/RESULTS.md.
"""

import io
import multiprocessing
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from multiprocessing.synchronize import Barrier

from absl import app, flags, logging
from PIL import Image

from benchmarks import results
from pipeline import contract, images, rows, runners, sources

_INPUT = flags.DEFINE_string("input", None, "CelebA directory; else one is drawn.")
_TILE = flags.DEFINE_string("tile", None, "CelebA directory whose images to repeat.")
_NUM_IMAGES = flags.DEFINE_integer("num_images", 8000, "Images to draw or tile.")
_NUM_WORKERS = flags.DEFINE_integer("num_workers", runners.num_cores(), "Workers.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 128, "Side of the images in pixels.")
_BEAM_ARGS = flags.DEFINE_multi_string("beam_arg", [], "Passed to pipeline.prepare.")
_OUTPUT = flags.DEFINE_string("output", None, "Where to work; a temporary directory.")
_POLL_SECONDS = 0.25
_LIMIT_IMAGES = 2000
_LIMIT_SECONDS = 5.0
_LIMIT_CHUNK = 100


def tile(source_dir: str, output_dir: str, num_images: int) -> None:
    """Makes a CelebA directory of `num_images` by repeating those of another one.

    Its attributes and landmarks are of CelebA's number and form, and mean nothing.
    """
    listing = sources.list_images("celeba", source_dir)
    data = [
        content
        for split in listing.by_split().values()
        for content in _files(listing, split)
    ]
    root = pathlib.Path(output_dir)
    root.mkdir(parents=True)
    keys = [f"{number + 1:06d}.jpg" for number in range(num_images)]
    with zipfile.ZipFile(root / "img_align_celeba.zip", "w") as archive:
        for number, key in enumerate(keys):
            archive.writestr(f"img_align_celeba/{key}", data[number % len(data)])
    partition = [
        f"{key} {max(0, 10 * number // num_images - 7)}\n"
        for number, key in enumerate(keys)
    ]
    (root / "list_eval_partition.txt").write_text("".join(partition))
    rng = random.Random(0)
    for name, columns, values in (
        ("list_attr_celeba.txt", 40, ("-1", " 1")),
        ("list_landmarks_align_celeba.txt", 10, [str(at) for at in range(60, 160)]),
    ):
        rows = [f"{key}  {' '.join(rng.choices(values, k=columns))}\n" for key in keys]
        names = " ".join(f"label_{column}" for column in range(columns))
        (root / name).write_text(f"{num_images}\n{names}\n{''.join(rows)}")


def bare_images_per_second(
    decode: Callable[[bytes], Image.Image],
    input_dir: str,
    num_processes: int,
    image_size: int,
) -> float:
    """Returns the rate of decode, crop and resize alone, over all processes."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(num_processes)
    with context.Pool(num_processes, _set_barrier, (barrier,)) as pool:
        tasks = [
            pool.apply_async(_decode_alone, (decode, input_dir, image_size))
            for _ in range(num_processes)
        ]
        return sum(task.get() for task in tasks)


def decode_with_pillow(data: bytes) -> Image.Image:
    """Returns the square in the centre of an image: the reference."""
    image = Image.open(io.BytesIO(data))
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def decode_as_the_pipeline(data: bytes) -> Image.Image:
    """Returns the same as the pipeline makes it."""
    return Image.fromarray(images.centre_crop(images.decode(data), 0))


def peak_memory(process: subprocess.Popen[str]) -> list[int]:
    """Returns a list whose last element is the peak of a process tree, in bytes.

    It is the proportional set size (PSS) summed over the processes, so that a page
    that several share counts once. A thread updates it while the process runs.
    """
    peak = [0]

    def poll() -> None:
        while process.poll() is None:
            peak.append(max(peak[-1], _tree_bytes(process.pid)))
            time.sleep(_POLL_SECONDS)

    threading.Thread(target=poll, daemon=True).start()
    return peak


def run_prepare(input_dir: str, output: str) -> tuple[float, int]:
    """Runs pipeline.prepare, and returns its seconds and its peak memory in bytes."""
    command = [sys.executable, "-m", "pipeline.prepare"]
    command += [f"--input={input_dir}", f"--output={output}"]
    command += [f"--num_workers={_NUM_WORKERS.value}"]
    command += [f"--image_size={_IMAGE_SIZE.value}", *_BEAM_ARGS.value]
    start_seconds = time.monotonic()
    with subprocess.Popen(command, text=True) as process:
        peak = peak_memory(process)
        if process.wait() != 0:
            raise RuntimeError(f"exit code {process.returncode} of {' '.join(command)}")
    return time.monotonic() - start_seconds, peak[-1]


def _set_barrier(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


_barrier: Barrier | None = None


def _decode_alone(
    decode: Callable[[bytes], Image.Image], input_dir: str, image_size: int
) -> float:
    listing = sources.list_images("celeba", input_dir)
    data = _files(listing, listing.by_split()["train"], _LIMIT_IMAGES)
    assert _barrier is not None
    _barrier.wait()
    start_seconds = time.monotonic()
    num_images = 0
    while (seconds := time.monotonic() - start_seconds) < _LIMIT_SECONDS:
        for content in data[:_LIMIT_CHUNK]:
            decode(content).resize(
                (image_size, image_size), resample=Image.Resampling.BILINEAR
            )
        num_images += len(data[:_LIMIT_CHUNK])
        data = data[_LIMIT_CHUNK:] + data[:_LIMIT_CHUNK]
    rate = num_images / seconds
    _barrier.wait()
    return rate


def _files(
    listing: sources.Listing, split: rows.Rows, num_images: int | None = None
) -> list[bytes]:
    """Returns the contents of the first image files of a split."""
    files = []
    for key, location in zip(
        split.keys[:num_images], split.locations[:num_images], strict=True
    ):
        content = listing.reader.read(key, location)
        assert isinstance(content, bytes)
        files.append(content)
    return files


def _tree_bytes(root: int) -> int:
    """Returns the PSS of a process and its descendants in bytes."""
    children: dict[int, list[int]] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdecimal():
            fields = _read(entry / "stat").rpartition(")")[2].split()
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    total, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        for line in _read(pathlib.Path(f"/proc/{pid}/smaps_rollup")).splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text()
    except OSError:  # The process has ended.
        return ""


def main(argv: list[str]) -> None:
    """Measures, prints and records."""
    del argv
    logging.set_verbosity(logging.INFO)
    with tempfile.TemporaryDirectory(dir=_OUTPUT.value) as work:
        input_dir = _INPUT.value or os.path.join(work, "raw")
        if _TILE.value:
            tile(_TILE.value, input_dir, _NUM_IMAGES.value)
        elif not _INPUT.value:
            command = [sys.executable, "-m", "pipeline.synthesize"]
            command += [f"--output={input_dir}", f"--num_images={_NUM_IMAGES.value}"]
            subprocess.run(command, check=True)
        before = _limits(input_dir)
        seconds, peak_bytes = run_prepare(input_dir, os.path.join(work, "dataset"))
        after = _limits(input_dir)
        manifest = contract.load_manifest(os.path.join(work, "dataset"))
    reference, own = ((a + b) / 2 for a, b in zip(before, after, strict=True))
    num_images = sum(split.num_examples for split in manifest.splits.values())
    num_bytes = sum(split.num_bytes for split in manifest.splits.values())
    rate = num_images / seconds
    what = " ".join(
        [f"{num_images} images", f"{_NUM_WORKERS.value} workers", *_BEAM_ARGS.value]
    )
    results.add_row(
        "prepare",
        {
            "what": what,
            "Pillow limit img/s": f"{reference:.0f} ({before[0]:.0f}, {after[0]:.0f})",
            "own limit img/s": f"{own:.0f} ({before[1]:.0f}, {after[1]:.0f})",
            "prepare img/s": f"{rate:.0f}",
            "of Pillow": f"{rate / reference:.2f}",
            "of own": f"{rate / own:.2f}",
            "peak PSS MB": f"{peak_bytes / 1e6:.0f}",
            "GB written": f"{num_bytes / 1e9:.2f}",
        },
    )


def _limits(input_dir: str) -> tuple[float, float]:
    """Returns the limits with Pillow and with the pipeline's decoder, in img/s."""
    workers, size = _NUM_WORKERS.value, _IMAGE_SIZE.value
    return (
        bare_images_per_second(decode_with_pillow, input_dir, workers, size),
        bare_images_per_second(decode_as_the_pipeline, input_dir, workers, size),
    )


if __name__ == "__main__":
    app.run(main)
