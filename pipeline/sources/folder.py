"""Lists the images of any folder; `image_files` describes the forms of `input`.

FOLDER/a.jpg                  no label; hashes of the keys decide the splits
FOLDER/cat/a.jpg              label cat, if every image is in a sub-folder
FOLDER/train/a.jpg            split by the usual folder names: see `layout_detection`
FOLDER/train/cat/a.jpg        split and label
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from absl import logging

from pipeline import contract
from pipeline.process import wording
from pipeline.sources import Listing, image_table, layout_detection, layouts, splits
from pipeline.sources.image_table import ImageTable
from pipeline.sources.listing import copies, image_files
from pipeline.sources.listing.patterns import Location

_NUM_NAMED = 5


def list_images(
    input_dir: str,
    *,
    seed: int = 0,
    split_fractions: Sequence[float] | None = None,
    split_folders: Sequence[str] | None = None,
    deduplicate: bool = False,
) -> Listing:
    """Returns the images of a folder, a pattern or a list, with their labels if any.

    Args:
        input_dir: A directory, a pattern or a list; see `image_files.find_images`.
        seed: Seed of the hashes that decide the splits.
        split_fractions: Fractions of the images for `contract.SPLITS`; None takes the
            splits from the sub-folders, or else uses `splits.DEFAULT_FRACTIONS`.
        split_folders: Sub-folder of each split, see `layouts.parse`; None detects the
            splits from the names of the sub-folders.
        deduplicate: Whether to keep only the first of several files with equal content.

    Raises:
        DatasetError: If there is no image, or a requested split has none, or the
            sub-folders contradict an argument or each other.
    """
    named = None if split_folders is None else layouts.parse(split_folders)
    files = image_files.find_images(input_dir)
    images = files.images if named is None else _in_folders(named, files.images)
    blocks = image_table.in_blocks(images)
    if deduplicate:
        blocks = copies.without_copies(blocks, files.root)
    summary, spool = _Summary(), image_table.Spool()
    for block in blocks:
        summary.add(block)
        spool.add(block)
    if named is None:
        layout = layout_detection.detect(summary.folders, input_dir)
    else:
        layout = layout_detection.with_images(named, summary.folders, input_dir)
    fractions = None
    if not layout.has_splits:
        fractions = tuple(split_fractions or splits.DEFAULT_FRACTIONS)
    elif split_fractions is not None:
        raise contract.DatasetError(
            f"input={input_dir} has its splits as sub-folders "
            f"({', '.join(map('/'.join, layout.split_of))}): leave `split_fractions` "
            f"out, or give split_folders={layouts.NONE}"
        )
    else:
        logging.info("sub-folders used as splits: %s", layout)
    names = summary.class_names(layout)
    parts = _Parts(spool, names, layout, fractions, seed)
    counts = splits.count_images(parts, fractions)
    logging.info("images below %s: %s", files.root, counts)
    return Listing(
        name="images",
        parts=parts,
        features={"label": contract.Feature("int64", (), names)} if names else {},
        fingerprint=f"{summary.hash:064x}",
        reader=image_files.ImageFileReader(files.root),
        split_fractions=fractions,
    )


def _in_folders(
    layout: layouts.Layout, images: Iterable[tuple[str, Location]]
) -> Iterator[tuple[str, Location]]:
    """Yields the images in the folders of a layout, and logs how many lie elsewhere."""
    num_left_out = 0
    for key, location in images:
        if layout.place(key) is None:
            num_left_out += 1
        else:
            yield key, location
    if num_left_out:
        logging.info(
            "split_folders leaves out %s", wording.counted(num_left_out, "image")
        )


class _Summary:
    """Facts about the whole set of images, gathered before splits are assigned."""

    def __init__(self) -> None:
        # Sum of the hashes of each key and size: the order of images does not matter.
        self.hash = 0
        self.folders = layouts.Folders()

    def add(self, block: ImageTable) -> None:
        sizes = block.locations[:, 0].tolist()
        for key, size in zip(block.keys, sizes, strict=True):
            hashed = hashlib.sha256(f"{key} {size}\n".encode()).digest()
            self.hash += int.from_bytes(hashed)
            self.folders.add(key)
        self.hash %= 1 << 256

    def class_names(self, layout: layouts.Layout) -> tuple[str, ...]:
        """Returns the class names, or none if an image is in no class folder."""
        first = layout.find_bare(self.folders)
        if first is not None:
            logging.info("no labels, because %s is not in the folder of a class", first)
            return ()
        names = tuple(sorted(layout.find_classes(self.folders)))
        for name in names:
            if name != name.strip() or len(name.splitlines()) > 1:
                raise contract.DatasetError(
                    f"the folder {name!r} cannot name a class, because its name begins "
                    "or ends with white space or has more than one line: rename it"
                )
        more = ", ..." if len(names) > _NUM_NAMED else ""
        named = ", ".join(names[:_NUM_NAMED])
        number = wording.counted(len(names), "class", "classes")
        logging.info("%s: %s%s", number, named, more)
        return names


@dataclasses.dataclass(frozen=True)
class _Parts:
    """The images with their splits and labels.

    Attributes:
        spool: All images.
        names: Names of the classes; empty if there are no labels.
        layout: Folders that are splits and classes.
        fractions: Fractions of the splits; None if folders are the splits.
        seed: Seed of the hashes that decide the splits.
    """

    spool: image_table.Spool
    names: tuple[str, ...]
    layout: layouts.Layout
    fractions: tuple[float, ...] | None
    seed: int

    def __iter__(self) -> Iterator[tuple[str, ImageTable]]:
        number_of = {name: number for number, name in enumerate(self.names)}
        for block in self.spool:
            places = [self.layout.place(key) or ("", "") for key in block.keys]
            features = {}
            if self.names:
                labels = [number_of[name] for _, name in places]
                features["label"] = np.array(labels, np.int64)
            block = dataclasses.replace(block, features=features)
            if self.fractions is None:
                split_of = [split for split, _ in places]
            else:
                split_of = splits.hashed_splits(block.keys, self.fractions, self.seed)
            yield from splits.divided(block, split_of)
