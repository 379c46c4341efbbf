"""Small files that announce, or unpack to, large content do not fill the memory."""

import gzip
import io
import os
import pathlib
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import google_crc32c
import numpy as np
import pytest

from pipeline import contract
from pipeline.formats import records
from pipeline.images import rgb, squares
from pipeline.sources.listing import archives, folder_reader
from pipeline.sources.mnist import arrays, idx, npz

# Upper bound on the memory that Python and NumPy need for a few kilobytes of content.
LIMIT_BYTES = 16 << 20
BOMB_BYTES = 4 * LIMIT_BYTES
ZEROS = bytes(1 << 20)


@pytest.fixture
def refused(tmp_path: pathlib.Path) -> Callable[..., str]:
    """Returns a function that checks that a call refuses a file in little memory.

    The function returns the text of the call's error.
    """

    def refuse(call: Callable[[pathlib.Path], Any], data: bytes) -> str:
        path = tmp_path / "hostile"
        path.write_bytes(data)
        del data
        errors = (contract.DatasetError, squares.RejectedImageError)
        tracemalloc.start()
        try:
            with pytest.raises(errors) as error:
                call(path)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak_bytes < LIMIT_BYTES
        return str(error.value)

    return refuse


def read_member(path: pathlib.Path) -> None:
    index = archives.index_zip(str(path), official_bytes=1)
    index.reader.read("a.jpg", np.array(index.locations["a.jpg"]))


def frame_head(length: int) -> bytes:
    head = struct.pack("<Q", length)
    return head + struct.pack("<I", records.masked(google_crc32c.value(head)))


def bomb(num_bytes: int) -> bytes:
    """Returns `num_bytes` zeros, deflated to about a thousandth of their size."""
    deflate = zlib.compressobj(1, zlib.DEFLATED, -15)
    blocks = [deflate.compress(ZEROS) for _ in range(num_bytes // len(ZEROS))]
    return b"".join([*blocks, deflate.flush()])


def zip_of(name: str, stored: bytes, num_bytes: int, extra_offset: int = 0) -> bytes:
    """Returns a zip with one deflated member that announces `num_bytes` bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        archive.writestr(name, b"")
        (member,) = archive.infolist()
        # Overwrite the empty stream; the zip's directory follows it.
        file.seek(member.header_offset + 30 + len(name))
        file.write(stored)
        archive.start_dir = file.tell()
        member.compress_size, member.file_size = len(stored), num_bytes
        member.header_offset += extra_offset
    return file.getvalue()


@pytest.mark.parametrize("length", [2**60, 2**64 - 1, 2**40])
def test_a_record_longer_than_its_file(refused, length):
    text = refused(
        lambda path: list(records.read_frames(path)), frame_head(length) + b"x" * 100
    )
    assert text == "record 0 is cut off"


def test_a_record_longer_than_any(refused):
    def read(path):
        # The record is a hole in the file, so it takes no space on the disk.
        os.truncate(path, 2**33)
        list(records.read_unchecked_frames(path))

    text = refused(read, frame_head(2**32))
    assert "has 4,294,967,296 bytes, but a record must have fewer than" in text


@pytest.mark.parametrize(
    ("announced", "reason"), [(10, "checksum"), (10 * 2**30, "oversized")]
)
def test_a_member_that_goes_on(refused, announced, reason):
    text = refused(read_member, zip_of("a.jpg", bomb(BOMB_BYTES), announced))
    assert text.startswith(f"('{reason}'")


@pytest.mark.parametrize("place", [2**63, 2**40])
def test_a_member_beyond_the_end(refused, place):
    data = zip_of("a.jpg", b"x", 1, extra_offset=place)
    assert "the zip is damaged" in refused(read_member, data)


def test_an_image_file_of_any_size(refused):
    def read(path):
        image = path.with_name("a.png")
        path.rename(image)
        os.truncate(image, 2**34)
        index = folder_reader.index_folder(str(path.parent))
        index.reader.read("a.png", np.array(index.locations["a.png"]))

    assert refused(read, b"").startswith("('oversized'")


def test_a_picture_of_any_size(refused):
    size = struct.pack(">II", 60_000, 60_000)
    chunks = [
        (b"IHDR", size + b"\x08\x02\0\0\0"),
        (b"IDAT", zlib.compress(bytes(1000))),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in chunks:
        crc = zlib.crc32(kind + content)
        data += struct.pack(">I", len(content)) + kind + content
        data += struct.pack(">I", crc)
    text = refused(lambda path: rgb.decode_as_rgb(path.read_bytes()), data)
    assert text.startswith("('oversized'")


@pytest.mark.parametrize(
    ("num_images", "match"), [(2**32 - 1, "announces"), (0, "has no images")]
)
def test_an_idx_file_that_announces_any_size(refused, num_images, match):
    shape = struct.pack(">3I", num_images, 2**32 - 1, 2**32 - 1)
    data = bytes([0, 0, 8, 3]) + shape
    assert match in refused(lambda path: idx.read_idx(str(path), "images"), data)


def test_an_idx_file_that_unpacks_to_any_size(refused, monkeypatch):
    monkeypatch.setattr(arrays, "_MAX_BYTES", 1 << 20)
    data = gzip.compress(bytes(BOMB_BYTES), 1)
    text = refused(lambda path: idx.read_idx(str(path), "images"), data)
    assert "it unpacks to more than 1,048,576 B" in text


@pytest.mark.parametrize("num_images", [2**40, 2**62, 10**30])
def test_an_array_that_announces_any_size(refused, num_images):
    header = {"descr": "|u1", "fortran_order": False, "shape": (num_images, 784)}
    np.lib.format.write_array_header_1_0(array := io.BytesIO(), header)
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        archive.writestr("x_train.npy", array.getvalue())
    assert "cannot read" in refused(lambda path: npz.load(str(path)), file.getvalue())


@pytest.mark.parametrize(
    ("announced", "match"), [(100, "CRC"), (10 * 2**30, "it unpacks to more than")]
)
def test_an_array_that_unpacks_to_any_size(refused, monkeypatch, announced, match):
    monkeypatch.setattr(arrays, "_MAX_BYTES", 1 << 20)
    data = zip_of("x_train.npy", bomb(BOMB_BYTES), announced)
    assert match in refused(lambda path: npz.load(str(path)), data)
