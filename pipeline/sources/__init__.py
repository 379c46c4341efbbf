"""Sources of images: each module lists its images and knows how to read one.

image_table       keys and places of any number of images, before they are read
splits            splits by the names of folders and files, or by hashes of the keys
folder_names      names of folders as words: the split that one names
layouts           which folders are splits and which are classes
layout_detection  the layout that the names of folders say
folder            source: any folder of images
celeba            source: CelebA, in the layouts in which it is distributed
mnist             source: MNIST and the datasets made in its image
tfds              source: datasets that TensorFlow Datasets prepared
listing           image files in folders, archives, patterns and lists

A source module has one function, `list_images(input_dir) -> Listing`, and a line in
`SOURCES`, which also says which settings the function takes. The listing is made once,
where the job is launched; workers get the reader and the locations of their own images.
"""

import dataclasses
import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pipeline import contract
from pipeline.sources.image_table import ImageTable, concatenate


@dataclasses.dataclass(frozen=True)
class Source:
    """What --source names.

    Attributes:
        module: Imported when it is asked for.
        image_size: What --image_size is unless it is given, in pixels.
        settings: Those that its `list_images` takes, by flag name.
    """

    module: str
    image_size: int
    settings: tuple[str, ...] = ()


# By the value of --source.
SOURCES: Mapping[str, Source] = {
    "celeba": Source("pipeline.sources.celeba.celeba", image_size=128),
    "mnist": Source("pipeline.sources.mnist.mnist", image_size=28),
    "folder": Source(
        "pipeline.sources.folder",
        image_size=128,
        settings=("seed", "split_fractions", "split_folders", "deduplicate"),
    ),
    "tfds": Source(
        "pipeline.sources.tfds.tfds",
        image_size=128,
        settings=("seed", "split_fractions"),
    ),
}


class Reader(Protocol):
    """Reads one image, a file or its pixels; pickled to the workers, opened there."""

    def prefetch(self, keys: Sequence[str], locations: np.ndarray) -> None:
        """Announces which images are read next, so that no read has to wait.

        Args:
            keys: Of the images, in the order in which they are read.
            locations: `[num_images, k]` int64, their rows of `ImageTable.locations`.
        """
        ...

    def read(self, key: str, location: np.ndarray) -> bytes | np.ndarray:
        """Returns the content of an image's file, or its pixels if there is no file.

        Args:
            key: The image.
            location: `[k]` int64, its row of `ImageTable.locations`.

        Returns:
            The bytes of the file, or `[height, width, channels]` uint8.

        Raises:
            RejectedImageError: If the image is missing or damaged.
            DatasetError: If the source itself cannot be read.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Listing:
    """All images of a source.

    Attributes:
        name: Dataset name.
        parts: Splits with some or all of their images, in any order; may be gone
            through again.
        features: What each of `ImageTable.features` is.
        fingerprint: Hex sha256 of the content that was listed: keys, sizes, labels,
            or pixels; no path and no time.
        reader: Reads one image.
        num_channels: Of every image.
        split_fractions: By which the splits were made; None if they were there.
    """

    name: str
    parts: Iterable[tuple[str, ImageTable]]
    features: Mapping[str, contract.Feature]
    fingerprint: str
    reader: Reader
    num_channels: int = 3
    split_fractions: tuple[float, ...] | None = None

    def by_split(self) -> dict[str, ImageTable]:
        """Returns all images of each split, sorted by key; for few of them."""
        parts: dict[str, list[ImageTable]] = {}
        for split, images in self.parts:
            parts.setdefault(split, []).append(images)
        whole = {
            split: concatenate(parts[split])
            for split in contract.SPLITS
            if split in parts
        }
        return {
            split: images.take(np.argsort(np.array(images.keys, object)))
            for split, images in whole.items()
        }


def list_images(
    source: str, input_dir: str, settings: Mapping[str, Any] | None = None
) -> Listing:
    """Returns the listing of the named source.

    Args:
        source: One of `SOURCES`.
        input_dir: Its files: a local path, or the URL of a bucket.
        settings: By flag name; the source gets those that it takes.

    Raises:
        DatasetError: If there is no such source, or its files are not as they should
            be.
    """
    chosen = find(source)
    settings = settings or {}
    arguments = {name: settings[name] for name in chosen.settings if name in settings}
    return importlib.import_module(chosen.module).list_images(input_dir, **arguments)


def check_takes(source: str, flag: str) -> None:
    """Checks that a source takes a setting.

    Raises:
        DatasetError: If it does not, or there is no such source.
    """
    if flag not in find(source).settings:
        takers = [name for name, other in SOURCES.items() if flag in other.settings]
        raise contract.DatasetError(
            f"--{flag} is not for --source={source}, but for {', '.join(takers)}: "
            "leave it out, or give another --source"
        )


def find(source: str) -> Source:
    """Returns the source of a name.

    Raises:
        DatasetError: If there is none.
    """
    if source not in SOURCES:
        raise contract.DatasetError(
            f"--source={source} must be one of {', '.join(SOURCES)}"
        )
    return SOURCES[source]
