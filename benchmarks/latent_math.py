"""Measures exact neighbours and the importance-weighted NLL against plain NumPy loops.

    python -m benchmarks.latent_math
    python -m benchmarks.latent_math --num_images=16000 --num_importance_images=100

`trainer.analysis.latents.neighbours` finds the nearest of 162,770 images of 128 px for
50 queries; CelebA has as many training images. The stream repeats a few batches in
memory, so no disk is measured. `trainer.analysis.scores` estimates -log p(x) of images
by 5,000 draws each, with the model of `configs/mnist_iwae.py`. The time of its other
scores is left out.

The limit is the matrix product alone, or the products of all decoder layers, in float32
with as many threads. Two loops are timed on a part of the work in the same minutes. The
plain loop takes single images or draws. In the harder loop NumPy takes all queries, or
all draws of an image, at once. Adds two rows to benchmarks/history.csv.
"""

import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np
from absl import app, flags

from benchmarks import datasets, importance, results
from trainer.analysis.latents import neighbours

_NUM_IMAGES = flags.DEFINE_integer("num_images", 162_770, "Images to search.")
_NUM_IMPORTANCE_IMAGES = flags.DEFINE_integer(
    "num_importance_images", 1000, "Images whose NLL is estimated."
)
_NUM_QUERIES, _IMAGE_SHAPE = 50, (128, 128, 3)
# The same batch size as in trainer.generation.sampling.
_BATCH_SIZE, _NUM_BATCHES = 200, 10
_NUM_DRAWS = 5000
_LOOP_SECONDS = 5.0


def seconds(function: Callable[[], object]) -> float:
    """Returns the seconds that a call takes."""
    start_seconds = time.monotonic()
    function()
    return time.monotonic() - start_seconds


def seconds_each(function: Callable[[int], object]) -> float:
    """Calls a function with 0, 1, … for about 5 s; returns the mean seconds."""
    start_seconds, number = time.monotonic(), 0
    while time.monotonic() - start_seconds < _LOOP_SECONDS:
        function(number)
        number += 1
    return (time.monotonic() - start_seconds) / number


class Search:
    """Queries, and a stream of images to search for their nearest neighbours."""

    def __init__(self, num_images: int) -> None:
        """Draws the queries and the images."""
        rng = np.random.default_rng(0)

        def draw(num: int) -> np.ndarray:
            return rng.uniform(-1, 1, (num, *_IMAGE_SHAPE)).astype(np.float32)

        self.num_images = num_images
        self.queries = draw(_NUM_QUERIES)
        self._images = [draw(_BATCH_SIZE) for _ in range(_NUM_BATCHES)]

    def batches(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yields keys and images, batch after batch."""
        for start in range(0, self.num_images, _BATCH_SIZE):
            size = min(_BATCH_SIZE, self.num_images - start)
            images = self._images[start // _BATCH_SIZE % _NUM_BATCHES][:size]
            yield [str(start + place) for place in range(size)], images

    def multiply(self) -> None:
        """Computes only the matrix product of all images and queries: the limit."""
        rows = self.queries.reshape(_NUM_QUERIES, -1)
        for _, images in self.batches():
            np.matmul(images.reshape(len(images), -1), rows.T)

    def compare_pairs(self, number: int) -> None:
        """Computes the distances from one image to the queries, one after another."""
        image = self._images[number % _NUM_BATCHES][number % _BATCH_SIZE]
        for query in self.queries:
            np.sum((query - image) ** 2)

    def compare_queries(self, number: int) -> None:
        """Computes the distances from one image to all queries at once."""
        image = self._images[number % _NUM_BATCHES][number % _BATCH_SIZE]
        np.sum((self.queries - image) ** 2, axis=(1, 2, 3))


def add_row(
    what: str,
    product_seconds: tuple[float, float],
    ours_seconds: float,
    loop_seconds: tuple[float, float],
) -> None:
    """Adds a row of results.

    Args:
        what: Description of the work.
        product_seconds: Seconds of the products alone, before and after.
        ours_seconds: Seconds of our code for all work.
        loop_seconds: Seconds of the plain and the harder loop for the same work.
    """
    limit = sum(product_seconds) / 2
    plain, harder = loop_seconds
    before, after = product_seconds
    results.add_row(
        "latent_math",
        {
            "what": what,
            "products s": f"{limit:.1f} ({before:.1f}, {after:.1f})",
            "ours s": f"{ours_seconds:.1f}",
            "of the products": f"{ours_seconds / limit:.1f}",
            "plain loop s": f"{plain:.0f}",
            "faster than it": f"{plain / ours_seconds:.1f}x",
            "harder loop s": f"{harder:.0f}",
            "faster than that": f"{harder / ours_seconds:.1f}x",
        },
    )


def add_neighbours(num_images: int) -> None:
    """Measures the neighbours of 50 queries."""
    search = Search(num_images)
    before = seconds(search.multiply)
    ours = seconds(lambda: neighbours.nearest(search.queries, search.batches()))
    after = seconds(search.multiply)
    loops = (search.compare_pairs, search.compare_queries)
    plain, harder = (num_images * seconds_each(loop) for loop in loops)
    what = f"nearest of {num_images} for {_NUM_QUERIES}"
    add_row(what, (before, after), ours, (plain, harder))


def add_importance(dataset: str, num_images: int) -> None:
    """Measures the NLL estimate of `num_images` images."""
    estimate = importance.Estimate(dataset, num_images, _NUM_DRAWS)
    before = seconds(estimate.multiply)
    others = seconds(lambda: estimate.score(0))
    ours = seconds(lambda: estimate.score(_NUM_DRAWS)) - others
    after = seconds(estimate.multiply)
    plain = num_images * _NUM_DRAWS * seconds_each(estimate.loop_over_draws)
    harder = num_images * seconds_each(estimate.loop_over_images)
    what = f"NLL of {num_images} by {_NUM_DRAWS}"
    add_row(what, (before, after), ours, (plain, harder))


def main(argv: list[str]) -> None:
    """Measures, prints and records."""
    del argv
    add_neighbours(_NUM_IMAGES.value)
    with tempfile.TemporaryDirectory() as work:
        add_importance(datasets.digits(work), _NUM_IMPORTANCE_IMAGES.value)


if __name__ == "__main__":
    app.run(main)
