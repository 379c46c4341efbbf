"""Any folder of images: see `image_files` for what --input may be.

FOLDER/a.jpg                  no label; the splits are made by hashes of the keys
FOLDER/cat/a.jpg              label: cat, if every image is in a sub-folder
FOLDER/train/a.jpg            the splits, if no image is elsewhere than in train,
                              validation (or val, or valid) and test
FOLDER/train/cat/a.jpg        both
"""

import concurrent.futures
import hashlib
import os
from collections import Counter
from collections.abc import Sequence

import numpy as np
from absl import logging

from pipeline import contract, plan
from pipeline.sources import Listing, SplitListing, image_files

DEFAULT_FRACTIONS = (0.8, 0.1, 0.1)

# By the name that a sub-folder has, or TensorFlow Datasets gives.
SPLIT_OF_NAME = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
}
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
            sub-folders say, else `DEFAULT_FRACTIONS`.
        deduplicate: Whether of the files of one content only the first is used.

    Raises:
        DatasetError: If there is no image, or none for a split that was asked for, or
            the sub-folders are at odds with a flag or with each other.
    """
    files = image_files.find_images(input_dir)
    keys = sorted(files.locations)
    if deduplicate:
        keys = _without_copies(keys, files)
    folders = sorted({key.partition("/")[0] for key in keys if "/" in key})
    if folders and SPLIT_OF_NAME.keys() >= set(folders):
        _check_split_folders(input_dir, folders, keys, split_fractions)
        fractions = None
        split_of = [SPLIT_OF_NAME[key.partition("/")[0]] for key in keys]
    else:
        fractions = tuple(split_fractions or DEFAULT_FRACTIONS)
        split_of = plan.hashed_splits(keys, fractions, seed)
        check_none_empty(split_of, fractions)
    labels, features = _labels(keys, depth=0 if fractions else 1)
    splits = {}
    for split in contract.SPLITS:
        rows = [row for row, its_split in enumerate(split_of) if its_split == split]
        if rows:
            chosen = [keys[row] for row in rows]
            splits[split] = SplitListing(
                keys=chosen,
                locations=np.array([files.locations[key] for key in chosen], np.int64),
                features={name: values[rows] for name, values in labels.items()},
            )
    sizes = "".join(f"{key} {files.locations[key][0]}\n" for key in keys)
    counts = ", ".join(f"{name} {len(split.keys)}" for name, split in splits.items())
    logging.info("%d images below %s: %s", len(keys), files.root, counts)
    return Listing(
        name="images",
        splits=splits,
        features=features,
        fingerprint=hashlib.sha256(sizes.encode()).hexdigest(),
        reader=image_files.ImageFileReader(files.root),
        split_fractions=fractions,
    )


def _without_copies(keys: Sequence[str], files: image_files.ImageFiles) -> list[str]:
    """Returns the keys without those whose file equals that of an earlier one."""
    sizes = {key: files.locations[key][0] for key in keys}
    number_of_size = Counter(sizes.values())
    # A file of its own size is no copy.
    suspects = [
        key for key in keys if sizes[key] >= 0 and number_of_size[sizes[key]] > 1
    ]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        hashes = pool.map(lambda key: _hash(os.path.join(files.root, key)), suspects)
        first_of: dict[str, str] = {}
        copies = {
            key: first
            for key, hashed in zip(suspects, hashes, strict=True)
            if (first := first_of.setdefault(hashed, key)) != key
        }
    named = ", ".join(f"{k} of {first}" for k, first in list(copies.items())[:5])
    logging.info(
        "--deduplicate: %d of %d images are copies, and dropped: %s",
        len(copies),
        len(keys),
        named or "none",
    )
    return [key for key in keys if key not in copies]


def _hash(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise contract.DatasetError(f"cannot read {path}: {error}") from error


def _check_split_folders(
    input_dir: str,
    folders: Sequence[str],
    keys: Sequence[str],
    split_fractions: Sequence[float] | None,
) -> None:
    found = f"--input={input_dir} has its splits as sub-folders ({', '.join(folders)})"
    if split_fractions is not None:
        raise contract.DatasetError(
            f"{found}: leave --split_fractions out, or rename them"
        )
    if len(folders) > len({SPLIT_OF_NAME[folder] for folder in folders}):
        raise contract.DatasetError(
            f"{found}, and more than one is the validation split: merge or rename them"
        )
    stray = next((key for key in keys if "/" not in key), None)
    if stray is not None:
        raise contract.DatasetError(
            f"{found}, and {stray} is in none of them: move it, or rename them"
        )


def check_none_empty(split_of: Sequence[str], fractions: Sequence[float]) -> None:
    """Checks that every split has an image, unless its fraction is zero.

    Args:
        split_of: Of each image.
        fractions: Of the images, for `contract.SPLITS`.

    Raises:
        DatasetError: If one has none.
    """
    for split, fraction in zip(contract.SPLITS, fractions, strict=True):
        if fraction and split not in split_of:
            raise contract.DatasetError(
                f"none of the {len(split_of)} images falls in split {split!r}, which "
                f"should have {fraction:g} of them: add images, or give other "
                "--split_fractions (train,validation,test; 1,0,0 for train alone)"
            )


def _labels(
    keys: Sequence[str], depth: int
) -> tuple[dict[str, np.ndarray], dict[str, contract.Feature]]:
    """Returns the label of each image and the feature that it is, if there is one.

    Args:
        keys: Of all images.
        depth: Which part of the key is the class, if it is a directory in every key.
    """
    bare = next((key for key in keys if key.count("/") <= depth), None)
    if bare is not None:
        logging.info("no labels: %s is not in the folder of a class", bare)
        return {}, {}
    classes = [key.split("/")[depth] for key in keys]
    names = tuple(sorted(set(classes)))
    for name in names:
        if name != name.strip() or len(name.splitlines()) > 1:
            raise contract.DatasetError(
                f"the folder {name!r} cannot be the name of a class, as it begins or "
                "ends with white space or has more than one line: rename it"
            )
    number_of = {name: number for number, name in enumerate(names)}
    more = ", ..." if len(names) > _NUM_NAMED else ""
    logging.info("%d classes: %s%s", len(names), ", ".join(names[:_NUM_NAMED]), more)
    labels = np.array([number_of[name] for name in classes], np.int64)
    return {"label": labels}, {"label": contract.Feature("int64", (), names)}
