"""Draws a synthetic CelebA, in the official layout, with true attributes.

    python -m pipeline.synthesize --output=data/synthetic --num_images=20000 --seed=0

Exit codes: 0 success; 1 a flag is wrong, or the files cannot be written.
"""

from collections.abc import Sequence

from absl import flags

from pipeline.contract import DatasetError
from pipeline.process import entry, path_flags
from pipeline.synthetic.layout import write_dataset

_OUTPUT = path_flags.define(
    "output", None, "Directory to write the images and labels to.", required=True
)
_NUM_IMAGES = flags.DEFINE_integer("num_images", 20_000, "Number of faces.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the faces.")
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers", None, "Number of drawing processes; by default one per core."
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Replace the synthetic images that --output holds."
)


def main(argv: Sequence[str]) -> None:
    """Draws the dataset that the flags describe."""
    del argv
    try:
        write_dataset(
            _OUTPUT.value,
            _NUM_IMAGES.value,
            _SEED.value,
            num_workers=_NUM_WORKERS.value,
            overwrite=_OVERWRITE.value,
        )
    except DatasetError as error:
        entry.fail(error)


if __name__ == "__main__":
    entry.run(main)
