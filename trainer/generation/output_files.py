"""Files that trainer.generate writes: grids, GIFs, arrays and tables.

The log names each file.
"""

import json
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from trainer.analysis.examples import Examples
from trainer.analysis.latents.neighbours import Neighbours, memorisation_ratio
from trainer.generation.attribute_directions import Arithmetic
from trainer.generation.sampling import Predictive
from trainer.reporting import image_grid, plots, sample_grids
from trainer.runs import trained
from trainer.system import atomic_files

# Ending of the picture of each kind of image, and most images in it.
_PICTURES = {
    "probability": "-probability.png",
    "mean": ".png",
    "sample": "-draw.png",
}
_MAX_PICTURED = 100


def named(path: pathlib.Path, ending: str) -> pathlib.Path:
    """Returns the path of a file whose name begins with that of `path`."""
    return path.with_name(path.name + ending)


def save_predictive(
    predictive: Predictive, path: pathlib.Path, kinds: Sequence[str]
) -> None:
    """Writes the first 100 means and draws of p(x|z) as pictures.

    Args:
        predictive: Images to write.
        path: Beginning of the file names.
        kinds: `probability` or `mean`, and perhaps `sample`.
    """
    num = min(len(predictive.z), _MAX_PICTURED)
    if num < len(predictive.z):
        logging.info("pictures show the first %d of %d images", num, len(predictive.z))
    columns = sample_grids.num_columns(num)
    for kind in kinds:
        images = predictive.sample if kind == "sample" else predictive.mean
        ending = _PICTURES[kind]
        save_png(named(path, ending), image_grid.tile(images[:num], columns))


def save_strips(
    path: pathlib.Path,
    strips: np.ndarray,
    labels: Sequence[str],
    strengths: Sequence[float] | np.ndarray,
) -> None:
    """Writes rows of images as a picture with labels.

    Args:
        path: Beginning of the file name.
        strips: `[rows, columns, h, w, c]` in [-1, 1].
        labels: Label of each row.
        strengths: Number above each column.
    """
    columns = [f"{x:+.3g}" if x else "0" for x in strengths]
    save_png(named(path, ".png"), plots.label_strips(strips, labels, columns))


def save_attributes(arithmetic: Arithmetic, path: pathlib.Path) -> None:
    """Writes the strips, the directions and their effects, and prints the effects."""
    labels = [
        f"{name.replace('_', ' ')}\nchange {effect.change:+.2f}, "
        f"others {effect.leakage:.2f}"
        for name, effect in zip(arithmetic.names, arithmetic.effects, strict=True)
    ]
    save_strips(path, arithmetic.strips, labels, arithmetic.strengths)
    save_npz(
        named(path, ".npz"),
        names=np.array(arithmetic.names),
        directions=arithmetic.directions,
    )
    rows = [
        {
            "attribute": name,
            "change": effect.change,
            "leakage": effect.leakage,
            "most_changed": other,
            "most_change": effect.most_change,
        }
        for name, effect, other in zip(
            arithmetic.names, arithmetic.effects, arithmetic.most_changed, strict=True
        )
    ]
    table = named(path, ".json")
    atomic_files.write(table, json.dumps(rows, indent=1).encode())
    logging.info("written to %s", table)
    width = max(map(len, arithmetic.names))
    print(f"{'row':{width}}  change  leakage  most of the others")
    for row in rows:
        print(
            f"{row['attribute']:{width}}  {row['change']:+6.2f}  {row['leakage']:7.2f}"
            f"  {row['most_changed']} {row['most_change']:+.2f}"
        )


def save_neighbours(
    neighbours: Neighbours,
    z: np.ndarray,
    samples: np.ndarray,
    unseen_keys: np.ndarray,
    path: pathlib.Path,
) -> None:
    """Writes samples beside their neighbours, and prints the memorisation ratio.

    No ratio is printed if all images of `unseen_keys` are training images after all.

    Args:
        neighbours: Neighbours of the samples, followed by neighbours of images outside
            training.
        z: `[n, latent_dim]`, latents of the samples.
        samples: `[n, h, w, c]`.
        unseen_keys: Keys of the images outside training.
        path: Beginning of the file names.
    """
    num = len(samples)
    grid = image_grid.compare(samples, samples, neighbours.images[:num])
    save_png(named(path, ".png"), grid)
    save_npz(
        named(path, ".npz"),
        z=z,
        keys=np.array(neighbours.keys[:num]),
        distances=neighbours.distances[:num],
        unseen_keys=unseen_keys,
        unseen_distances=neighbours.distances[num:],
    )
    of_samples, of_unseen = np.split(neighbours.distances, [num])
    if not of_unseen.any():
        logging.info(
            "the memorisation ratio is not computed: all images of the split are "
            "training images"
        )
        return
    print(f"memorisation ratio: {memorisation_ratio(of_samples, of_unseen):.3f}")


def save_image_neighbours(
    neighbours: Neighbours, examples: Examples, path: pathlib.Path
) -> None:
    """Writes examples beside their neighbours, and prints the nearest keys.

    Args:
        neighbours: Nearest training image of each example.
        examples: Examples.
        path: Beginning of the file names.
    """
    grid = image_grid.compare(examples.images, examples.images, neighbours.images)
    save_png(named(path, ".png"), grid)
    keys = np.array(neighbours.keys)
    save_npz(
        named(path, ".npz"),
        keys=examples.keys,
        neighbours=keys,
        distances=neighbours.distances,
    )
    _print_nearest(examples.keys.tolist(), neighbours)


def save_latent_neighbours(
    neighbours: Neighbours,
    z: np.ndarray,
    samples: np.ndarray,
    examples: Examples,
    path: pathlib.Path,
) -> None:
    """Writes samples and examples beside their neighbours, and prints the nearest keys.

    Args:
        neighbours: Neighbours of the samples, followed by neighbours of the examples.
        z: `[n, latent_dim]`, latents of the samples.
        samples: `[n, h, w, c]`.
        examples: Up to n examples.
        path: Beginning of the file names.
    """
    keys = np.array(neighbours.keys)
    num = len(z)
    for name, images, part in (
        ("samples", samples, slice(num)),
        ("examples", examples.images, slice(num, None)),
    ):
        grid = image_grid.compare(images, images, neighbours.images[part])
        save_png(named(path, f"-{name}.png"), grid)
    save_npz(
        named(path, ".npz"),
        z=z,
        keys=keys[:num],
        distances=neighbours.distances[:num],
        example_keys=examples.keys,
        example_neighbours=keys[num:],
        example_distances=neighbours.distances[num:],
    )
    names = [f"sample {number}" for number in range(num)]
    _print_nearest([*names, *examples.keys], neighbours)


def _print_nearest(names: Sequence[str], neighbours: Neighbours) -> None:
    width = max(map(len, names))
    print(f"{'':{width}}  distance  nearest")
    for name, distance, key in zip(
        names, neighbours.distances, neighbours.keys, strict=True
    ):
        print(f"{name:{width}}  {distance:8.3f}  {key}")


def save_png(path: pathlib.Path, grid: np.ndarray) -> None:
    """Writes a grid as a PNG file."""
    image_grid.save_png(path, grid)
    logging.info("written to %s", path)


def save_gif(path: pathlib.Path, frames: np.ndarray) -> None:
    """Writes `[frames, n, h, w, c]` in [-1, 1] as a GIF that plays back and forth."""
    columns = sample_grids.num_columns(frames.shape[1])
    levels = image_grid.shrunk(
        image_grid.to_levels(frames.reshape(-1, *frames.shape[2:]))
    )
    by_frame = levels.reshape(*frames.shape[:2], *levels.shape[1:])
    grids = [image_grid.tile_levels(frame, columns) for frame in by_frame]
    image_grid.save_gif(path, grids)
    logging.info("written to %s", path)


def save_npz(path: pathlib.Path, **arrays: np.ndarray) -> None:
    """Writes arrays by name as an npz file."""
    trained.save_npz(path, arrays)
    logging.info("written to %s", path)
