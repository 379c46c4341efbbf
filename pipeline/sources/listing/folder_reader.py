"""Indexes and reads the image files of a folder, local or in a bucket."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline import contract
from pipeline.images.squares import RejectedImageError
from pipeline.sources.listing import file_states
from pipeline.sources.listing.archives import (
    SUFFIXES,
    ImageIndex,
    check_size,
    with_keys,
)
from pipeline.sources.listing.read_ahead import Part, ReadAhead
from pipeline.storage import path_resolution, paths


class FolderReader:
    """Reads the files of a folder; a location is (size, modification time in ns).

    If the reader has suffixes, a location has a third number: the index of the file's
    suffix, which replaces the suffix of the key.
    """

    def __init__(self, path: str, suffixes: Sequence[str] = ()) -> None:
        """Opens nothing yet.

        Args:
            path: Path of the folder.
            suffixes: Suffixes of the files, if some differ from their keys' suffixes.
        """
        self._path = path
        self._suffixes = tuple(suffixes)
        self._ahead = ReadAhead()

    def prefetch(self, keys: Sequence[str], locations: np.ndarray) -> None:
        """Starts to read files of a bucket ahead; see `Reader.prefetch`.

        Local files are not read ahead, because reading ahead would open every file.
        """
        if paths.is_url(self._path):
            self._ahead.announce(
                Part(self._file(key, location), int(location[0]))
                for key, location in zip(keys, locations, strict=True)
                if location[0] >= 0
            )

    def read(self, key: str, location: np.ndarray) -> bytes:
        """Returns the content of a file; see `Reader.read`."""
        num_bytes, modified_ns = int(location[0]), int(location[1])
        if num_bytes < 0:
            raise RejectedImageError(
                "missing", f"not in {os.path.basename(self._path)}"
            )
        check_size(num_bytes)
        path = self._file(key, location)
        try:
            if paths.is_url(path):
                data = self._ahead.read(Part(path, num_bytes))
                # Keep the listed time: the current time would take another request.
                state = len(data), modified_ns
            else:
                contract.check_is_file(path)
                with open(path, "rb", buffering=0) as file:
                    data = file.read()
                    state = len(data), os.fstat(file.fileno()).st_mtime_ns
        except OSError as error:
            raise file_states.unreadable(path, error) from error
        file_states.check_same(path, (num_bytes, modified_ns), state)
        return data

    def _file(self, key: str, location: np.ndarray) -> str:
        if self._suffixes:
            key = os.path.splitext(key)[0] + self._suffixes[location[2]]
        return paths.join(self._path, key)


class FolderIndex(ImageIndex):
    """The images of a folder."""

    def renamed(self, name_of: Mapping[str, str]) -> ImageIndex:
        """See `ImageIndex.renamed`; old and new keys differ only in their suffixes."""
        suffix_of = {name: os.path.splitext(name)[1] for name in self.locations}
        suffixes = sorted(set(suffix_of.values()))
        locations = {
            name: (*location, suffixes.index(suffix_of[name]))
            for name, location in self.locations.items()
        }
        return dataclasses.replace(
            self,
            locations=with_keys(locations, name_of),
            sizes=with_keys(self.sizes, name_of),
            missing=(*self.missing, 0),
            reader=FolderReader(path_resolution.resolve(self.path), suffixes),
        )


def index_folder(path: str) -> ImageIndex:
    """Returns the images directly in a folder, or in its sub-folder of the same name.

    Raises:
        DatasetError: If there is no image, or the folder cannot be read.
    """
    locations: dict[str, tuple[int, ...]] = {}
    folders: list[str] = []
    for entry in paths.list_directory(path):
        if entry.is_directory:
            folders.append(entry.name)
        elif entry.name.lower().endswith(SUFFIXES):
            locations[entry.name] = (entry.num_bytes, entry.modified_ns)
    if not locations:
        # Some programs unpack an archive into an extra folder of the same name.
        name = os.path.basename(path.rstrip("/")).lower()
        inner = [folder for folder in folders if folder.lower() == name]
        if inner:
            return index_folder(paths.join(path, inner[0]))
        raise contract.DatasetError(
            f"the folder {path} has no image ({', '.join(SUFFIXES)})"
        )
    return FolderIndex(
        path=path,
        locations=locations,
        sizes={key: location[0] for key, location in locations.items()},
        missing=(-1, 0),
        reader=FolderReader(path_resolution.resolve(path)),
    )
