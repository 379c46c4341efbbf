"""Sources of images: a source module lists its images and makes their reader.

image_table       keys and locations of any number of images, before they are read
splits            assigns images to splits, by names or by hashes of the keys
folder_names      reads folder names as words, and finds the split that they name
text_files        text in UTF-8 or UTF-16, and files in place of it
layouts           which folders are splits and which are classes
layout_detection  detects the layout from the names of folders
folder            source: any folder of images
celeba            source: CelebA, in the layouts of its distributors
mnist             sources: MNIST, datasets of the same form, and binarised MNIST
tfds              source: datasets that TensorFlow Datasets prepared
listing           image files in folders, archives, patterns and lists

A source module has one function, `list_images(input_dir) -> Listing`. An entry in
`SOURCES` names the further settings that this function takes. The launcher lists the
images once; a worker gets the reader and the locations of its own images.
"""

import dataclasses
import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pipeline import contract
from pipeline.sources.image_table import ImageTable, concatenate
from pipeline.storage import path_resolution


@dataclasses.dataclass(frozen=True)
class Source:
    """A source that the setting `source` can name.

    Attributes:
        module: Name of the module, imported on first use.
        image_size: Default of `image_size` in pixels.
        settings: Names of the settings that the module's `list_images` takes.
    """

    module: str
    image_size: int
    settings: tuple[str, ...] = ()


# Sources by the value of `source`.
SOURCES: Mapping[str, Source] = {
    "celeba": Source("pipeline.sources.celeba.celeba", image_size=128),
    "mnist": Source(
        "pipeline.sources.mnist.mnist",
        image_size=28,
        settings=("validation_images",),
    ),
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
    "binarized_mnist": Source("pipeline.sources.mnist.binarized", image_size=28),
}


class Reader(Protocol):
    """Reads single images of a source.

    The launcher pickles a reader and sends it to the workers, which open its files.
    """

    def prefetch(self, keys: Sequence[str], locations: np.ndarray) -> None:
        """Announces the next images: the reader may load them before `read` needs them.

        Args:
            keys: Keys of the images, in reading order.
            locations: `[num_images, k]` int64, rows of `ImageTable.locations`.
        """
        ...

    def read(self, key: str, location: np.ndarray) -> bytes | np.ndarray:
        """Returns an image as an encoded file or as pixels.

        Args:
            key: Key of the image.
            location: `[k]` int64, the image's row of `ImageTable.locations`.

        Returns:
            Bytes of the image file, or pixels `[height, width, channels]` uint8.

        Raises:
            RejectedImageError: If the image is missing or damaged.
            DatasetError: If the source itself cannot be read.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Listing:
    """All images of a source.

    Attributes:
        name: Name of the dataset.
        parts: Pairs of a split and some or all of its images, in any order. The
            iterable can be read several times.
        features: Type, shape and names of each feature in `ImageTable.features`.
        fingerprint: Hex sha256 of the listed content (keys, sizes, labels or pixels),
            without paths and times.
        reader: Reader of the images.
        num_channels: Channels of every image.
        split_fractions: Fractions that divided the images into splits; None if the
            source has its own splits.
        validation_images: Number of training images that became the split validation;
            None if no image did.
    """

    name: str
    parts: Iterable[tuple[str, ImageTable]]
    features: Mapping[str, contract.Feature]
    fingerprint: str
    reader: Reader
    num_channels: int = 3
    split_fractions: tuple[float, ...] | None = None
    validation_images: int | None = None

    def by_split(self) -> dict[str, ImageTable]:
        """Returns all images of each split, sorted by key.

        This is for few images only: all rows are in memory at once.
        """
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
        source: Name of the source, a key of `SOURCES`.
        input_dir: Local path or bucket URL of its files.
        settings: Settings by name; settings that the source does not take are
            ignored.

    Raises:
        DatasetError: If there is no such source, or its files are missing or malformed.
    """
    chosen = find(source)
    settings = settings or {}
    arguments = {name: settings[name] for name in chosen.settings if name in settings}
    return importlib.import_module(chosen.module).list_images(input_dir, **arguments)


def locate(source: str, input_dir: str, *, download: bool = False) -> str:
    """Returns the absolute path or URL of a source's input.

    Args:
        source: Name of the source, a key of `SOURCES`.
        input_dir: Path or URL; for the source `tfds` also the name of a data set.
        download: Whether TensorFlow Datasets prepares a data set that is absent.

    Raises:
        DatasetError: If a name has no data set, or `download` does not apply.
    """
    if source == "tfds":
        from pipeline.sources.tfds import tfds_names

        return tfds_names.locate(input_dir, download=download)
    if download:
        raise contract.DatasetError(
            f"`download` does not apply to source={source}, only to tfds: leave it "
            "out, or give another `source`"
        )
    return path_resolution.absolute(input_dir)


def check_takes(source: str, name: str) -> None:
    """Checks that a source takes a setting.

    Raises:
        DatasetError: If the source does not take it, or there is no such source.
    """
    if name not in find(source).settings:
        takers = [taker for taker, other in SOURCES.items() if name in other.settings]
        raise contract.DatasetError(
            f"`{name}` does not apply to source={source}, only to "
            f"{', '.join(takers)}: leave it out, or give another `source`"
        )


def find(source: str) -> Source:
    """Returns the source of this name.

    Raises:
        DatasetError: If there is no such source.
    """
    if source not in SOURCES:
        raise contract.DatasetError(
            f"source={source} must be one of {', '.join(SOURCES)}"
        )
    return SOURCES[source]
