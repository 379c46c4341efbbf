"""Measures pipeline.prepare beside other ways to build the same dataset.

    python -m benchmarks.builders --num_images=5000,50000 --tile=CELEBA_DIR
    python -m benchmarks.builders --num_images=5000 --systems=ours,tfds_parallel

The systems take turns at each storage type. `ours` is the local runner with its
defaults. `ours_flink` is the cluster of deploy/flink/local.sh, which is up before the
clock starts. `tfds` is TensorFlow Datasets' Beam writer, and `plain` a graph with
Beam's own sink (see benchmarks/peers). Both peers run in the one process of Beam's
local runner, where they are fastest. Systems named `..._parallel` use worker processes
for any number of images.

"command img/s" counts the whole command. "graph img/s" is the system's own figure,
without its imports and listing. "growth" is the peak memory of all processes, including
a cluster's, relative to the run with the fewest images. Every output is read back: all
records must be there, and the first image of each shard must equal the output of
`pipeline.images.squares` for its file, within 1e-3. Pillow's limit is the rate of
decode, crop and resize alone on as many cores, before and after the systems. Adds a row
for each system to benchmarks/history.csv.
"""

import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence

from absl import app, flags, logging

from benchmarks import comparison, inputs, limits, measuring, results, systems
from pipeline import contract
from pipeline.process.limits import num_cores

_INPUT = flags.DEFINE_string("input", None, "CelebA directory; else faces are drawn.")
_TILE = flags.DEFINE_string("tile", None, "CelebA directory with images to repeat.")
_NUM_IMAGES = flags.DEFINE_list("num_images", ["5000"], "Images to draw or tile.")
_IMAGE_DTYPES = flags.DEFINE_list(
    "image_dtype", sorted(contract.IMAGE_DTYPES), "Storage types of the images."
)
_NUM_WORKERS = flags.DEFINE_integer("num_workers", num_cores(), "Processes.")
_MAX_MINUTES = flags.DEFINE_float("max_minutes", 15.0, "Kill longer runs.")
_MAX_GB = flags.DEFINE_float("max_gb", 16.0, "Kill runs with more memory.")
_OUTPUT = flags.DEFINE_string("output", None, "Work directory; else a temporary one.")

_SYSTEMS = flags.DEFINE_list(
    "systems", ["ours", "ours_flink", "tfds", "plain"], "Systems to compare."
)
for _flag, _allowed in (
    (_IMAGE_DTYPES, contract.IMAGE_DTYPES),
    (_SYSTEMS, systems.by_name(1)),
):
    flags.register_validator(
        _flag,
        lambda names, allowed=_allowed: set(names) <= set(allowed),
        f"each must be one of {', '.join(_allowed)}",
    )

# Limit for pixels in [-1, 1], where a level is 7.8e-3. Rounding to float16 stays below
# the limit.
_MAX_DIFFERENCE = 1e-3


def build(
    system: systems.System,
    raw: Mapping[str, str],
    work: str,
    num_images: int,
    image_dtype: str,
) -> comparison.Outcome:
    """Runs a system, checks its output, and deletes the output.

    Args:
        system: System to run.
        raw: Directories with the images, by `System.input_flag`.
        work: Directory to write in.
        num_images: Number of images in each directory.
        image_dtype: Storage type of the images.

    Raises:
        RuntimeError: If the dataset differs from the expected one.
    """
    output, log_path = os.path.join(work, "dataset"), os.path.join(work, "log")
    command = [*system.command, f"--{system.input_flag}={raw[system.input_flag]}"]
    command += [f"--output={output}", f"--image_dtype={image_dtype}", *system.flags]
    environ = {
        **os.environ,
        **systems.cluster_environ(os.path.join(work, "flink"), _NUM_WORKERS.value),
    }
    os.sync()  # Flush the previous system's output, or its writes slow this system.
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(log_path, "w+"))
        cluster = systems.flink_cluster(environ) if system.is_cluster else None
        usage = measuring.run(
            command,
            services=stack.enter_context(cluster) if cluster else (),
            max_seconds=60 * _MAX_MINUTES.value,
            max_bytes=1e9 * _MAX_GB.value,
            output=log,
            environ=environ,
        )
        log.seek(0)
        text = log.read()
    if usage.failure:
        logging.error("%s: %s\n%s", command, usage.failure, text[-500:])
        outcome = comparison.Outcome(usage.failure, usage.peak_bytes)
    else:
        [seconds] = re.findall(r"images in ([\d.]+) s,", text)
        num_found, difference = comparison.check(output, raw["files"], image_dtype)
        if num_found != num_images or difference > _MAX_DIFFERENCE:
            raise RuntimeError(
                f"{num_found} of {num_images} images, whose pixels differ by "
                f"{difference}: {' '.join(command)}"
            )
        outcome = comparison.Outcome(
            failure="",
            peak_bytes=usage.peak_bytes,
            command_rate=num_images / usage.seconds,
            graph_rate=num_images / float(seconds),
            num_bytes=sum(path.stat().st_size for path in comparison.shards(output)),
            difference=difference,
        )
    shutil.rmtree(output, ignore_errors=True)
    return outcome


def _chosen() -> dict[str, systems.System]:
    known = systems.by_name(_NUM_WORKERS.value)
    chosen = {name: known[name] for name in _SYSTEMS.value}
    if "ours_flink" in chosen and shutil.which("java") is None:
        logging.warning("ours_flink is skipped: there is no Java")
        del chosen["ours_flink"]
    return chosen


def _limit(input_dir: str) -> float:
    return limits.images_per_second(
        limits.decode_with_pillow, input_dir, _NUM_WORKERS.value, comparison.IMAGE_SIZE
    )


def main(argv: Sequence[str]) -> None:
    """Measures, prints and records."""
    del argv
    logging.set_verbosity(logging.INFO)
    # An exit on SIGTERM also takes the cluster down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    chosen = _chosen()
    outcomes: dict[tuple[int, str, str], comparison.Outcome] = {}
    for wanted in map(int, _NUM_IMAGES.value):
        with tempfile.TemporaryDirectory(dir=_OUTPUT.value) as work:
            raw = {"files": os.path.join(work, "files")}
            raw["input"] = _INPUT.value or inputs.make(
                os.path.join(work, "raw"), wanted, _TILE.value
            )
            num_images = inputs.extract(raw["input"], raw["files"])
            limit = _limit(raw["input"])
            for image_dtype in _IMAGE_DTYPES.value:
                for name, system in chosen.items():
                    outcome = build(system, raw, work, num_images, image_dtype)
                    logging.info("%s %s %s", name, image_dtype, outcome)
                    outcomes[num_images, image_dtype, name] = outcome
                before, limit = limit, _limit(raw["input"])
                for row in comparison.rows(
                    outcomes, num_images, image_dtype, (before, limit)
                ):
                    results.add_row("builders", row)


if __name__ == "__main__":
    app.run(main)
