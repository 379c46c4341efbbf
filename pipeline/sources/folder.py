"""Any folder of images: see `image_files` for what --input may be.

FOLDER/a.jpg                  no label; the splits are made by hashes of the keys
FOLDER/cat/a.jpg              label: cat, if every image is in a sub-folder
FOLDER/train/a.jpg            the splits, if no image is elsewhere than in train,
                              validation (or val, or valid) and test
FOLDER/train/cat/a.jpg        both
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from absl import logging

from pipeline import contract, plan, rows
from pipeline.rows import Rows
from pipeline.sources import Listing, copies, image_files, splits

_NUM_NAMED = 5


def list_images(
    input_dir: str,
    *,
    seed: int = 0,
    split_fractions: Sequence[float] | None = None,
    deduplicate: bool = False,
) -> Listing:
    """Returns the images of a folder, a pattern or a list, with labels if it has any.

    Args:
        input_dir: See `image_files.find_images`.
        seed: Of the hashes that decide the splits.
        split_fractions: Of the images, for `contract.SPLITS`; None for what the
            sub-folders say, else `splits.DEFAULT_FRACTIONS`.
        deduplicate: Whether of the files of one content only the first is used.

    Raises:
        DatasetError: If there is no image, or none for a split that was asked for, or
            the sub-folders are at odds with a flag or with each other.
    """
    files = image_files.find_images(input_dir)
    blocks = rows.in_blocks(files.found)
    if deduplicate:
        blocks = copies.without_copies(blocks, files.root)
    found, spool = _Found(), rows.Spool()
    for block in blocks:
        found.add(block)
        spool.add(block)
    if found.folders and splits.SPLIT_OF_NAME.keys() >= found.folders:
        found.check_split_folders(input_dir, split_fractions)
        fractions, depth = None, 1
    else:
        fractions, depth = tuple(split_fractions or splits.DEFAULT_FRACTIONS), 0
    names = found.class_names(depth)
    parts = _Parts(spool, names, depth, fractions, seed)
    counts = splits.count_images(parts, fractions)
    logging.info("images below %s: %s", files.root, counts)
    return Listing(
        name="images",
        parts=parts,
        features={"label": contract.Feature("int64", (), names)} if names else {},
        fingerprint=f"{found.hash:064x}",
        reader=image_files.ImageFileReader(files.root),
        split_fractions=fractions,
    )


class _Found:
    """What must be known of all images before the first has a split and a label."""

    def __init__(self) -> None:
        # Of keys and sizes, in any order: a sum of their own hashes.
        self.hash = 0
        self.folders: set[str] = set()
        # By depth: the folders there, and the first key that is in none.
        self._classes: list[set[str]] = [set(), set()]
        self._bare: list[str | None] = [None, None]

    def add(self, block: Rows) -> None:
        sizes = block.locations[:, 0].tolist()
        for key, size in zip(block.keys, sizes, strict=True):
            hashed = hashlib.sha256(f"{key} {size}\n".encode()).digest()
            self.hash += int.from_bytes(hashed)
            parents = key.split("/")[:-1]
            self.folders.update(parents[:1])
            for depth in range(2):
                if len(parents) > depth:
                    self._classes[depth].add(parents[depth])
                else:
                    self._bare[depth] = min(self._bare[depth] or key, key)
        self.hash %= 1 << 256

    def check_split_folders(
        self, input_dir: str, split_fractions: Sequence[float] | None
    ) -> None:
        names = sorted(self.folders)
        found = (
            f"--input={input_dir} has its splits as sub-folders ({', '.join(names)})"
        )
        if split_fractions is not None:
            raise contract.DatasetError(
                f"{found}: leave --split_fractions out, or rename them"
            )
        if len(names) > len({splits.SPLIT_OF_NAME[name] for name in names}):
            raise contract.DatasetError(
                f"{found}, and more than one is the validation split: merge or rename "
                "them"
            )
        if self._bare[0] is not None:
            raise contract.DatasetError(
                f"{found}, and {self._bare[0]} is in none of them: move it, or rename "
                "them"
            )

    def class_names(self, depth: int) -> tuple[str, ...]:
        """Returns the folders at a depth, or none if an image is in none of them."""
        bare = self._bare[depth]
        if bare is not None:
            logging.info("no labels: %s is not in the folder of a class", bare)
            return ()
        names = tuple(sorted(self._classes[depth]))
        for name in names:
            if name != name.strip() or len(name.splitlines()) > 1:
                raise contract.DatasetError(
                    f"the folder {name!r} cannot be the name of a class, as it begins "
                    "or ends with white space or has more than one line: rename it"
                )
        more = ", ..." if len(names) > _NUM_NAMED else ""
        named = ", ".join(names[:_NUM_NAMED])
        logging.info("%d classes: %s%s", len(names), named, more)
        return names


@dataclasses.dataclass(frozen=True)
class _Parts:
    """The images with their splits and labels.

    Attributes:
        spool: The images.
        names: Of the classes; empty if there are no labels.
        depth: Which part of the key is the class.
        fractions: Of the splits; None if the topmost folder is the split.
        seed: Of the hashes that decide the splits.
    """

    spool: rows.Spool
    names: tuple[str, ...]
    depth: int
    fractions: tuple[float, ...] | None
    seed: int

    def __iter__(self) -> Iterator[tuple[str, Rows]]:
        number_of = {name: number for number, name in enumerate(self.names)}
        for block in self.spool:
            features = {}
            if self.names:
                labels = [number_of[key.split("/")[self.depth]] for key in block.keys]
                features["label"] = np.array(labels, np.int64)
            block = dataclasses.replace(block, features=features)
            yield from splits.divided(block, self._splits(block.keys))

    def _splits(self, keys: Sequence[str]) -> list[str]:
        if self.fractions is None:
            return [splits.SPLIT_OF_NAME[key.partition("/")[0]] for key in keys]
        return plan.hashed_splits(keys, self.fractions, self.seed)
