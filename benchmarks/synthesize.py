"""Measures how many faces one core draws: factors, painting and JPEG, in CPU time.

    python -m benchmarks.synthesize

Uses the CPU time of the process instead of wall time, so other programs on the machine
do not count. Adds a row to benchmarks/history.csv.
"""

import statistics
import time

from absl import app, flags

from benchmarks import results
from pipeline.synthetic import drawings

_NUM_BATCHES = flags.DEFINE_integer("num_batches", 60, "Batches to time.")
_BATCH_IMAGES = flags.DEFINE_integer("batch_images", 32, "Images of a batch.")


def images_per_second(num_batches: int, batch_images: int) -> list[float]:
    """Returns the rate of each batch, in images per second of CPU time."""
    drawings.draw_example(0, seed=0)
    rates = []
    for batch in range(num_batches):
        start_seconds = time.process_time()
        for index in range(batch * batch_images, (batch + 1) * batch_images):
            drawings.draw_example(index, seed=0)
        rates.append(batch_images / (time.process_time() - start_seconds))
    return rates


def main(argv: list[str]) -> None:
    """Measures, prints and records."""
    del argv
    rates = images_per_second(_NUM_BATCHES.value, _BATCH_IMAGES.value)
    results.add_row(
        "synthesize",
        {
            "images": str(_NUM_BATCHES.value * _BATCH_IMAGES.value),
            "slowest batch img/s": f"{min(rates):.0f}",
            "median img/s": f"{statistics.median(rates):.0f}",
            "fastest img/s": f"{max(rates):.0f}",
        },
    )


if __name__ == "__main__":
    app.run(main)
