"""Indexes the image files of a zip archive, and reads them.

The launcher indexes the archive once. A worker gets the byte range of each of its
images and reads this range, without reading the archive's directory.
"""

import dataclasses
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline import contract
from pipeline.images import file_types
from pipeline.images.squares import RejectedImageError
from pipeline.process import wording
from pipeline.sources import Reader
from pipeline.sources.listing import file_states
from pipeline.sources.listing.read_ahead import Part, ReadAhead
from pipeline.storage import files, path_resolution, paths

# Suffixes of image files, in lower case.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_LOCAL_HEADER = struct.Struct("<4s22xHH")
# Bytes read beyond the header for the name and the extra fields of a member.
_HEADER_SLACK = 512


@dataclasses.dataclass(frozen=True)
class ImageIndex:
    """The images of a zip or a folder.

    Attributes:
        path: Path of the zip or the folder.
        locations: Location of each image for the reader, by key.
        sizes: Uncompressed size of each image in bytes, by key.
        missing: Location that stands for a missing image.
        reader: Reader of the images.
    """

    path: str
    locations: Mapping[str, tuple[int, ...]]
    sizes: Mapping[str, int]
    missing: tuple[int, ...]
    reader: Reader

    def renamed(self, name_of: Mapping[str, str]) -> "ImageIndex":
        """Returns the index with some images under other keys.

        Args:
            name_of: Present key of an image, by its new key.
        """
        return dataclasses.replace(
            self,
            locations=with_keys(self.locations, name_of),
            sizes=with_keys(self.sizes, name_of),
        )


def with_keys(of_key: Mapping[str, Any], name_of: Mapping[str, str]) -> dict[str, Any]:
    """Returns the mapping with some keys renamed, from `name_of[key]` to `key`.

    Example:
        >>> with_keys({"1.png": 7, "2.jpg": 8}, {"1.jpg": "1.png"})
        {'2.jpg': 8, '1.jpg': 7}
    """
    others = of_key.keys() - name_of.values()
    unchanged = {key: value for key, value in of_key.items() if key in others}
    return unchanged | {key: of_key[name] for key, name in name_of.items()}


class ZipReader:
    """Reads members of a zip by (header offset, stored size, size, method, CRC-32)."""

    def __init__(self, path: str, state: file_states.State) -> None:
        """Opens nothing yet: workers get an unopened copy.

        Args:
            path: Path of the archive.
            state: State of the archive when it was listed.
        """
        self._path = path
        self._state = state
        self._file: int | None = None
        self._ahead = ReadAhead()

    def __getstate__(self) -> dict[str, Any]:
        """Returns the state to pickle, without the open file."""
        return {**self.__dict__, "_file": None}

    def prefetch(self, keys: Sequence[str], locations: np.ndarray) -> None:
        """Starts to read the members ahead; see `Reader.prefetch`."""
        spans = (
            (offset, _LOCAL_HEADER.size + _HEADER_SLACK + stored_bytes)
            for offset, stored_bytes, *_ in locations.tolist()
            if offset >= 0
        )
        if paths.is_url(self._path):
            self._ahead.announce(
                Part(self._path, num_bytes, start) for start, num_bytes in spans
            )
        # Some systems have no `posix_fadvise`.
        elif hasattr(os, "posix_fadvise"):
            for span in spans:
                os.posix_fadvise(self._opened(), *span, os.POSIX_FADV_WILLNEED)

    def read(self, key: str, location: np.ndarray) -> bytes:
        """Returns the content of a member; see `Reader.read`."""
        offset, stored_bytes, num_bytes, method, crc = location.tolist()
        if offset < 0:
            raise RejectedImageError(
                "missing", f"not in {os.path.basename(self._path)}"
            )
        check_size(max(stored_bytes, num_bytes))
        try:
            stored = self._read_member(offset, stored_bytes)
            # Inflate up to one byte more, to notice a member that is too long.
            data = stored if method == 0 else _inflated(stored, num_bytes + 1)
            if len(data) != num_bytes or zlib.crc32(data) != crc:
                detail = f"CRC-32 {zlib.crc32(data):08x}, the zip says {crc:08x}"
                raise RejectedImageError("checksum", detail)
            return data
        except OSError as error:
            raise file_states.unreadable(self._path, error) from error
        except RejectedImageError:
            # If the zip was cut or replaced, fail instead of rejecting its members.
            file_states.check_same(
                self._path, self._state, file_states.find(self._path)
            )
            raise

    def _opened(self) -> int:
        if self._file is None:
            try:
                contract.check_is_file(self._path)
                self._file = os.open(self._path, os.O_RDONLY)
            except OSError as error:
                raise file_states.unreadable(self._path, error) from error
        return self._file

    def _read_member(self, offset: int, stored_bytes: int) -> bytes:
        size = _LOCAL_HEADER.size + _HEADER_SLACK + stored_bytes
        block = self._read_range(offset, size)
        if len(block) < _LOCAL_HEADER.size or block[:4] != b"PK\x03\x04":
            raise RejectedImageError("checksum", f"no zip member at byte {offset}")
        _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(block)
        start = _LOCAL_HEADER.size + name_bytes + extra_bytes
        if name_bytes + extra_bytes > _HEADER_SLACK:
            return self._read_range(offset + start, stored_bytes)
        return block[start : start + stored_bytes]

    def _read_range(self, start: int, num_bytes: int) -> bytes:
        if paths.is_url(self._path):
            return self._ahead.read(Part(self._path, num_bytes, start))
        return os.pread(self._opened(), num_bytes, start)


def index_zip(path: str, official_bytes: int) -> ImageIndex:
    """Returns the images in a zip, by file name without folders.

    Args:
        path: Path of the archive. Its members may be stored or deflated.
        official_bytes: Size of the official archive in bytes, for error messages.

    Raises:
        DatasetError: If the file is not a zip or is truncated, or has an unsafe or
            encrypted member, two images with the same name, or no image.
    """
    state = file_states.find(path)
    num_bytes = _check_is_zip(path, official_bytes)
    try:
        with paths.open_file(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except contract.DatasetError:
        raise
    except files.ARCHIVE_ERRORS as error:
        raise contract.DatasetError(
            f"{path} is a truncated or damaged zip ({error}): it has "
            f"{num_bytes:,} B, the official one {official_bytes:,} B; "
            "download it again"
        ) from error
    locations: dict[str, tuple[int, ...]] = {}
    for member in members:
        key = _member_key(path, member)
        if key is None:
            continue
        end = member.header_offset + member.compress_size
        if not 0 <= member.header_offset <= end <= num_bytes:
            raise contract.DatasetError(
                f"{path} has {num_bytes:,} B, but lists {key} from byte "
                f"{member.header_offset:,} to {end:,}: the zip is damaged; download "
                "it again"
            )
        if key in locations:
            raise contract.DatasetError(
                f"{path} has two images named {key}: remove one of them"
            )
        locations[key] = (
            member.header_offset,
            member.compress_size,
            member.file_size,
            member.compress_type,
            member.CRC,
        )
    if not locations:
        raise contract.DatasetError(f"{path} has no image ({', '.join(SUFFIXES)})")
    return ImageIndex(
        path=path,
        locations=locations,
        sizes={key: location[2] for key, location in locations.items()},
        missing=(-1, 0, 0, 0, 0),
        reader=ZipReader(path_resolution.resolve(path), state),
    )


def check_size(num_bytes: int) -> None:
    """Checks that an image file has at most `contract.MAX_IMAGE_BYTES`.

    Raises:
        RejectedImageError: If the file is larger.
    """
    if num_bytes > contract.MAX_IMAGE_BYTES:
        limit = contract.MAX_IMAGE_BYTES
        detail = f"{num_bytes:,} B, and an image file has at most {limit:,}"
        raise RejectedImageError("oversized", detail)


def _inflated(stored: bytes, max_bytes: int) -> bytes:
    try:
        return zlib.decompressobj(-15).decompress(stored, max_bytes)
    except zlib.error as error:
        raise RejectedImageError("checksum", str(error)) from error


def _check_is_zip(path: str, official_bytes: int) -> int:
    """Checks that a file begins like a zip, and returns its size in bytes."""
    try:
        with paths.open_file(path) as file:
            head = file.read(1024)
            num_bytes = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise contract.DatasetError(
            f"cannot read {path}: {wording.cause(error)}"
        ) from error
    if file_types.is_html(head):
        raise contract.DatasetError(
            f"{path} is an HTML page of {num_bytes:,} B, not a zip: Google Drive sends "
            "one when its download quota is spent; download the file by hand in a "
            f"browser (the official one has {official_bytes:,} B)"
        )
    if file_types.is_pointer(head):
        raise contract.DatasetError(
            f"{path} is a Git LFS pointer: run git lfs pull in its directory"
        )
    if head[:4] not in (b"PK\x03\x04", b"PK\x05\x06"):
        raise contract.DatasetError(
            f"{path} is not a zip: it has {num_bytes:,} B"
            f"{f' and begins with {wording.shown(head[:8])}' if head else ''}; "
            f"download it again (the official one has {official_bytes:,} B)"
        )
    return num_bytes


def _member_key(path: str, member: zipfile.ZipInfo) -> str | None:
    """Returns the key of a member, or None if the member is not an image."""
    name = member.orig_filename.replace("\\", "/")
    parts = name.split("/")
    if not parts[0] or name[1:2] == ":" or ".." in parts:
        raise contract.DatasetError(
            f"{path} has a member named {member.orig_filename!r:.80}, which leads out "
            "of the archive: it is not the official file; download it again"
        )
    is_image = parts[-1].lower().endswith(SUFFIXES)
    if not is_image or "__MACOSX" in parts:
        return None
    if member.flag_bits & 1 or member.compress_type not in (0, 8):
        raise contract.DatasetError(
            f"{path} has the member {name}, encrypted or compressed by method "
            f"{member.compress_type}: only stored and deflated members can be "
            "read; pack the images again"
        )
    return parts[-1]
