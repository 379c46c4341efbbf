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


def save_predictive(
    predictive: Predictive, path: pathlib.Path, **more: np.ndarray
) -> None:
    """Writes means and draws of p(x|z) as pictures, and as an npz file with `more`.

    Args:
        predictive: Images to write.
        path: Beginning of the file names.
        more: Further arrays for the npz.
    """
    columns = sample_grids.num_columns(len(predictive.z))
    means, samples = (
        image_grid.tile(predictive.mean, columns),
        image_grid.tile(predictive.sample, columns),
    )
    save_png(path.with_name(f"{path.name}-probability.png"), means)
    save_png(path.with_name(f"{path.name}-draw.png"), samples)
    save_npz(path.with_name(f"{path.name}.npz"), **more, **arrays(predictive))


def save_attributes(arithmetic: Arithmetic, output: pathlib.Path) -> None:
    """Writes the strips, the directions and their effects, and prints the effects."""
    labels = [
        f"{name.replace('_', ' ')}\nchange {effect.change:+.2f}, "
        f"others {effect.leakage:.2f}"
        for name, effect in zip(arithmetic.names, arithmetic.effects, strict=True)
    ]
    strengths = [f"{x:+.3g}" if x else "0" for x in arithmetic.strengths]
    picture = plots.label_strips(arithmetic.strips, labels, strengths)
    save_png(output / "attributes.png", picture)
    save_npz(
        output / "attributes.npz",
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
    path = output / "attributes.json"
    atomic_files.write(path, json.dumps(rows, indent=1).encode())
    logging.info("written to %s", path)
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
    output: pathlib.Path,
) -> None:
    """Writes samples beside their neighbours, and prints the memorisation ratio.

    No ratio is printed if all images of `unseen_keys` are training images after all.

    Args:
        neighbours: Neighbours of the samples, followed by neighbours of images outside
            training.
        z: `[n, latent_dim]`, latents of the samples.
        samples: `[n, h, w, c]`.
        unseen_keys: Keys of the images outside training.
        output: Directory of the files.
    """
    num = len(samples)
    grid = image_grid.compare(samples, samples, neighbours.images[:num])
    save_png(output / "neighbours.png", grid)
    save_npz(
        output / "neighbours.npz",
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
    neighbours: Neighbours, examples: Examples, output: pathlib.Path
) -> None:
    """Writes examples beside their neighbours, and prints the nearest keys.

    Args:
        neighbours: Nearest training image of each example.
        examples: Examples.
        output: Directory of the files.
    """
    grid = image_grid.compare(examples.images, examples.images, neighbours.images)
    save_png(output / "neighbours-images.png", grid)
    keys = np.array(neighbours.keys)
    save_npz(
        output / "neighbours-images.npz",
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
    output: pathlib.Path,
) -> None:
    """Writes samples and examples beside their neighbours, and prints the nearest keys.

    Args:
        neighbours: Neighbours of the samples, followed by neighbours of the examples.
        z: `[n, latent_dim]`, latents of the samples.
        samples: `[n, h, w, c]`.
        examples: Up to n examples.
        output: Directory of the files.
    """
    keys = np.array(neighbours.keys)
    num = len(z)
    for name, images, part in (
        ("samples", samples, slice(num)),
        ("examples", examples.images, slice(num, None)),
    ):
        grid = image_grid.compare(images, images, neighbours.images[part])
        save_png(output / f"neighbours-{name}.png", grid)
    save_npz(
        output / "neighbours-latents.npz",
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


def arrays(predictive: Predictive) -> dict[str, np.ndarray]:
    """Returns latents, and the probabilities and draws of p(x|z), by name."""
    return {
        "z": predictive.z,
        "probability": predictive.probability,
        "sample": predictive.sample,
    }


def save_png(path: pathlib.Path, grid: np.ndarray) -> None:
    """Writes a grid as a PNG file."""
    image_grid.save_png(path, grid)
    logging.info("written to %s", path)


def save_gif(path: pathlib.Path, frames: np.ndarray) -> None:
    """Writes `[frames, n, h, w, c]` in [-1, 1] as a GIF that plays back and forth."""
    columns = sample_grids.num_columns(frames.shape[1])
    image_grid.save_gif(path, [image_grid.tile(frame, columns) for frame in frames])
    logging.info("written to %s", path)


def save_npz(path: pathlib.Path, **arrays: np.ndarray) -> None:
    """Writes arrays by name as an npz file."""
    trained.save_npz(path, arrays)
    logging.info("written to %s", path)
