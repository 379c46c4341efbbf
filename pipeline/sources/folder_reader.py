"""Where the image files of a folder are, local or in a bucket."""

import os
from collections.abc import Sequence

import numpy as np

from pipeline import contract, storage
from pipeline.images import RejectedImageError
from pipeline.sources import listed
from pipeline.sources.archives import SUFFIXES, ImageIndex, check_size
from pipeline.sources.read_ahead import Part, ReadAhead


class FolderReader:
    """Reads the files of a folder; a location is (size, modification time in ns)."""

    def __init__(self, path: str) -> None:
        """Keeps the folder's path."""
        self._path = path
        self._ahead = ReadAhead()

    def prefetch(self, keys: Sequence[str], locations: np.ndarray) -> None:
        """Has the files of a bucket read ahead; a local one would have to be opened."""
        if storage.is_url(self._path):
            self._ahead.announce(
                Part(storage.join(self._path, key), num_bytes)
                for key, num_bytes in zip(keys, locations[:, 0].tolist(), strict=True)
                if num_bytes >= 0
            )

    def read(self, key: str, location: np.ndarray) -> bytes:
        """Returns the content of a file; see `Reader.read`."""
        num_bytes, modified_ns = int(location[0]), int(location[1])
        if num_bytes < 0:
            raise RejectedImageError(
                "missing", f"not in {os.path.basename(self._path)}"
            )
        check_size(num_bytes)
        path = storage.join(self._path, key)
        try:
            if storage.is_url(path):
                data = self._ahead.read(Part(path, num_bytes))
                # Another request would tell the time.
                found = len(data), modified_ns
            else:
                with open(path, "rb", buffering=0) as file:
                    data = file.read()
                    found = len(data), os.fstat(file.fileno()).st_mtime_ns
        except OSError as error:
            raise listed.unreadable(path, error) from error
        listed.check_same(path, (num_bytes, modified_ns), found)
        return data


def index_folder(path: str) -> ImageIndex:
    """Returns the images directly in a folder.

    Raises:
        DatasetError: If there is none, or the folder cannot be read.
    """
    locations: dict[str, tuple[int, ...]] = {}
    for entry in storage.list_directory(path):
        if entry.name.lower().endswith(SUFFIXES) and not entry.is_directory:
            locations[entry.name] = (entry.num_bytes, entry.modified_ns)
    if not locations:
        raise contract.DatasetError(
            f"the folder {path} has no image ({', '.join(SUFFIXES)})"
        )
    return ImageIndex(
        path=path,
        locations=locations,
        sizes={key: location[0] for key, location in locations.items()},
        missing=(-1, 0),
        reader=FolderReader(storage.resolve(path)),
    )
