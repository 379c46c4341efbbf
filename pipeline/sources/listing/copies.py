"""Finds and leaves out copies among any number of files, by size and sha256."""

import concurrent.futures
import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
from absl import logging

from pipeline import contract
from pipeline.process import wording
from pipeline.sources.image_table import ImageTable, Partitions, Spool
from pipeline.storage import paths

_NUM_NAMED = 5
_DIGEST = "digest"


def without_copies(blocks: Iterable[ImageTable], root: str) -> Iterator[ImageTable]:
    """Yields the images, with only the smallest key among files of equal content.

    Args:
        blocks: All images; a location begins with the size of the file in bytes.
        root: Directory or URL that the keys are relative to.

    Raises:
        DatasetError: If a file cannot be read.
    """
    spool, number_of_size = Spool(), Counter[int]()
    for block in blocks:
        spool.add(block)
        number_of_size.update(block.locations[:, 0].tolist())
    # Files of equal content have the same hash, so they share a partition.
    by_content = Partitions()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for block in spool:
            # A file with a unique size has no copy, and a missing file has size -1.
            is_suspect = np.array(
                [
                    size >= 0 and number_of_size[size] > 1
                    for size in block.locations[:, 0].tolist()
                ]
            )
            yield block.take(np.flatnonzero(~is_suspect))
            suspects = block.take(np.flatnonzero(is_suspect))
            file_paths = [paths.join(root, key) for key in suspects.keys]
            digests = np.array(list(pool.map(_sha256, file_paths)), np.uint64).reshape(
                -1, 4
            )
            marked = dataclasses.replace(suspects, features={_DIGEST: digests})
            by_content.add(digests[:, 0], marked)
    num_copies, named = 0, list[tuple[str, str]]()
    for _, group in by_content:
        first_of: dict[bytes, str] = {}
        firsts, copies = [], []
        for place, key in enumerate(group.keys):
            digest = group.features[_DIGEST][place].tobytes()
            # A partition sorts equal hashes by key, so the smallest key comes first.
            first = first_of.setdefault(digest, key)
            if first == key:
                firsts.append(place)
            else:
                copies.append((key, first))
        chosen = group.take(np.array(firsts, np.int64))
        yield dataclasses.replace(chosen, features={})
        num_copies += len(copies)
        named = sorted([*named, *copies])[:_NUM_NAMED]
    logging.info(
        "dropped %d of %d images as copies: %s",
        num_copies,
        number_of_size.total(),
        ", ".join(f"{key} of {first}" for key, first in named) or "none",
    )


def _sha256(path: str) -> np.ndarray:
    try:
        digest = bytes.fromhex(paths.hash_file(path))
    except OSError as error:
        raise contract.DatasetError(
            f"cannot read {path}: {wording.cause(error)}"
        ) from error
    return np.frombuffer(digest, np.uint64)
