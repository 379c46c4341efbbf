"""Measures pipeline.prepare against the bare cost of decoding and resizing.

    python -m benchmarks.prepare --num_images=20000
    python -m benchmarks.prepare --num_images=20000 --tile=CELEBA_DIR
    python -m benchmarks.prepare --input=CELEBA_DIR

A limit is the rate of a pool of processes that only decode, crop and resize images in
memory. One limit uses Pillow alone, the reference. The other uses the pipeline's own
decoder before Pillow's resize. Both limits are measured before and after
pipeline.prepare, in the same minutes. Adds a row to benchmarks/history.csv.
"""

import os
import sys
import tempfile

from absl import app, flags, logging
from PIL import Image

from benchmarks import inputs, limits, measuring, results
from pipeline import contract
from pipeline.images import squares
from pipeline.process.limits import num_cores

_INPUT = flags.DEFINE_string("input", None, "CelebA directory; else faces are drawn.")
_TILE = flags.DEFINE_string("tile", None, "CelebA directory with images to repeat.")
_NUM_IMAGES = flags.DEFINE_integer("num_images", 8000, "Images to draw or tile.")
_NUM_WORKERS = flags.DEFINE_integer("num_workers", num_cores(), "Processes.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 128, "Side of the images in pixels.")
_BEAM_ARGS = flags.DEFINE_multi_string("beam_arg", [], "Flag for pipeline.prepare.")
_OUTPUT = flags.DEFINE_string("output", None, "Work directory; else a temporary one.")


def decode_as_the_pipeline(data: bytes) -> Image.Image:
    """Returns the square in the centre of an image, decoded by the pipeline."""
    return Image.fromarray(squares.centre_crop(squares.decode(data), 0))


def run_prepare(input_dir: str, output: str) -> measuring.Usage:
    """Runs pipeline.prepare, and returns its time and memory."""
    command = [sys.executable, "-m", "pipeline.prepare"]
    command += [f"--input={input_dir}", f"--output={output}"]
    command += [f"--num_workers={_NUM_WORKERS.value}"]
    command += [f"--image_size={_IMAGE_SIZE.value}", *_BEAM_ARGS.value]
    usage = measuring.run(command)
    if usage.failure:
        raise RuntimeError(f"{usage.failure}: {' '.join(command)}")
    return usage


def main(argv: list[str]) -> None:
    """Measures, prints and records."""
    del argv
    logging.set_verbosity(logging.INFO)
    with tempfile.TemporaryDirectory(dir=_OUTPUT.value) as work:
        input_dir = _INPUT.value or inputs.make(
            os.path.join(work, "raw"), _NUM_IMAGES.value, _TILE.value
        )
        before = _limits(input_dir)
        usage = run_prepare(input_dir, os.path.join(work, "dataset"))
        after = _limits(input_dir)
        manifest = contract.load_manifest(os.path.join(work, "dataset"))
    reference, own = ((a + b) / 2 for a, b in zip(before, after, strict=True))
    num_images = sum(split.num_examples for split in manifest.splits.values())
    num_bytes = sum(split.num_bytes for split in manifest.splits.values())
    rate = num_images / usage.seconds
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
            "peak PSS MB": f"{usage.peak_bytes / 1e6:.0f}",
            "GB written": f"{num_bytes / 1e9:.2f}",
        },
    )


def _limits(input_dir: str) -> tuple[float, float]:
    """Returns the limits with Pillow and with the pipeline's decoder, in img/s."""
    workers, size = _NUM_WORKERS.value, _IMAGE_SIZE.value
    return (
        limits.images_per_second(limits.decode_with_pillow, input_dir, workers, size),
        limits.images_per_second(decode_as_the_pipeline, input_dir, workers, size),
    )


if __name__ == "__main__":
    app.run(main)
