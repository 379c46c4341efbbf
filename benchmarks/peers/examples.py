"""Code that the peers share: flags, Beam options and examples.

An example equals a record of `pipeline.prepare`, made as a user of Beam would make it:
Pillow reads, crops and resizes a file, and NumPy scales it.
"""

import json
import pathlib
from typing import Any

import numpy as np
from absl import flags
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from benchmarks import inputs, limits

FILES = flags.DEFINE_string(
    "files", None, "Directory that `inputs.extract` made.", required=True
)
OUTPUT = flags.DEFINE_string("output", None, "New dataset directory.", required=True)
IMAGE_DTYPE = flags.DEFINE_string(
    "image_dtype", "float16", "Type of the stored images."
)
NUM_WORKERS = flags.DEFINE_integer(
    "num_workers", 1, "Worker processes; 1 is the launcher itself."
)

IMAGE_SIZE = 128
SHARD_SIZE = 1024

# A key, and the labels by name.
Listed = tuple[str, dict[str, list[int]]]


def load_listed(files: str) -> dict[str, list[Listed]]:
    """Returns the images that `inputs.extract` listed, by split."""
    splits = json.loads(pathlib.Path(files, inputs.EXAMPLES_NAME).read_text())
    return {
        split: [(key, labels) for key, labels in listed]
        for split, listed in splits.items()
    }


def make_example(listed: Listed, files: str, image_dtype: str) -> dict[str, Any]:
    """Returns the features of a listed image: key, image and labels."""
    key, labels = listed
    content = pathlib.Path(files, key).read_bytes()
    image = limits.resize(limits.decode_with_pillow(content), IMAGE_SIZE)
    pixels = np.asarray(image)
    if image_dtype != "uint8":
        pixels = (pixels.astype(np.float32) / 127.5 - 1.0).astype(image_dtype)
    return {"key": key, "image": pixels, **labels}


def beam_options() -> PipelineOptions:
    """Returns options for Beam's local runner, in this process or in workers."""
    options = PipelineOptions([])
    direct = options.view_as(DirectOptions)
    direct.direct_num_workers = NUM_WORKERS.value
    is_alone = NUM_WORKERS.value == 1
    direct.direct_running_mode = "in_memory" if is_alone else "multi_processing"
    return options


def print_rate(num_images: int, seconds: float) -> None:
    """Prints the job's time without its start-up, as `pipeline.prepare` does."""
    print(f"{num_images} images in {seconds:.1f} s, {num_images / seconds:.0f} img/s")
