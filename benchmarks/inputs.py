"""Makes and reads the benchmarks' input: a CelebA directory, tiled or drawn."""

import json
import pathlib
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator

from pipeline import sources

EXAMPLES_NAME = "examples.json"


def make(directory: str, num_images: int, tiled_dir: str | None) -> str:
    """Makes a CelebA directory of drawn images, or repeats images of `tiled_dir`."""
    if tiled_dir:
        tile(tiled_dir, directory, num_images)
    else:
        command = [sys.executable, "-m", "pipeline.synthesize"]
        command += [f"--output={directory}", f"--num_images={num_images}"]
        subprocess.run(command, check=True)
    return directory


def tile(source_dir: str, output_dir: str, num_images: int) -> None:
    """Makes a CelebA directory of `num_images` by repeating another one's images.

    The attributes and landmarks have CelebA's number and form, but random values.
    """
    data = [content for _, _, content, _ in read(source_dir)]
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


def extract(input_dir: str, output_dir: str) -> int:
    """Writes each image to its own file, and lists the images with their labels.

    Args:
        input_dir: CelebA directory.
        output_dir: Directory to make. Its `EXAMPLES_NAME` lists, by split, the key and
            the labels by name of every image.

    Returns:
        Number of images.
    """
    root = pathlib.Path(output_dir)
    root.mkdir()
    examples: dict[str, list[tuple[str, dict[str, list[int]]]]] = {}
    for split, key, content, labels in read(input_dir):
        (root / key).write_bytes(content)
        examples.setdefault(split, []).append((key, labels))
    (root / EXAMPLES_NAME).write_text(json.dumps(examples))
    return sum(map(len, examples.values()))


def read(input_dir: str) -> Iterator[tuple[str, str, bytes, dict[str, list[int]]]]:
    """Yields (split, key, content, labels by name) of a CelebA directory's images."""
    listing = sources.list_images("celeba", input_dir)
    for name, split in listing.by_split().items():
        for number, key in enumerate(split.keys):
            content = listing.reader.read(key, split.locations[number])
            assert isinstance(content, bytes)
            labels = {
                label: values[number].tolist()
                for label, values in split.features.items()
            }
            yield name, key, content, labels
