"""Records: their bytes are those of the library, and damage is named."""

import pathlib
import struct

import google_crc32c
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline import contract
from pipeline.formats import records

FEATURES = {
    "key": contract.Feature("string"),
    "image": contract.Feature("uint8", (2, 3, 1)),
    "label": contract.Feature("int64"),
    "box": contract.Feature("int64", (2,)),
}
IMAGE = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)


def record(key: str = "a.jpg", **labels: list[int]) -> bytes:
    labels = {"label": [3], "box": [-1, 1 << 40], **labels}
    return b"".join(records.encode_record(key, {"image": IMAGE}, labels))


def write(path: pathlib.Path, *serialized: bytes) -> list[bytes]:
    """Writes records to a file, and returns their frames."""
    frames = [b"".join(records.frame(one)) for one in serialized]
    path.write_bytes(b"".join(frames))
    return frames


def errors(path: pathlib.Path) -> str:
    with pytest.raises(contract.DatasetError) as error:
        list(records.read_frames(path))
    return str(error.value)


@given(
    key=st.text(max_size=200),
    label=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    size=st.sampled_from([0, 1, 126, 127, 128, 16_383, 16_384]),
    big_endian=st.booleans(),
)
@example("k" * 127, [0, 126, 127, 128, 16_383, 16_384, -1], 127, False)
def test_a_record_has_the_bytes_of_the_library(
    key: str, label: list[int], size: int, big_endian: bool
) -> None:
    proto = pytest.importorskip("tensorflow_datasets.proto").tf_example_pb2
    values = np.arange(size, dtype=np.int64).astype(">u2" if big_endian else "<u2")
    message = proto.Example()
    features = message.features.feature
    features["image"].bytes_list.value.append(values.astype("<u2").tobytes())
    features["key"].bytes_list.value.append(key.encode())
    features["label"].int64_list.value.extend(label)
    parts = records.encode_record(key, {"image": values}, {"label": label})
    expected = message.SerializeToString(deterministic=True)
    assert b"".join(parts) == expected
    assert sum(isinstance(part, memoryview) for part in parts) == 1


def test_heads_and_integers_that_repeat_are_kept() -> None:
    first = record("a", label=[300])
    caches = records._entry_head, records._varint
    before = [cache.cache_info() for cache in caches]
    assert record("a", label=[300]) == first
    for cache, info in zip(caches, before, strict=True):
        assert cache.cache_info().misses == info.misses
        assert cache.cache_info().hits > info.hits


@pytest.mark.parametrize("name", ["key", "image"])
def test_the_first_of_several_values_counts(name: str) -> None:
    proto = pytest.importorskip("tensorflow_datasets.proto").tf_example_pb2
    message = proto.Example.FromString(record("a"))
    message.features.feature[name].bytes_list.value.append(b"another")
    frames = [b"".join(records.frame(message.SerializeToString()))]
    ((key, image, _),) = records.parse_examples(frames, "shard", FEATURES)
    assert key == "a"
    np.testing.assert_array_equal(image, IMAGE)


def test_a_frame_has_lengths_and_masked_checksums() -> None:
    framed = b"".join(records.frame(b"ab", memoryview(b"c")))

    def masked(data: bytes) -> int:
        crc = google_crc32c.value(data)
        return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32

    length = struct.pack("<Q", 3)
    assert framed == (
        length
        + struct.pack("<I", masked(length))
        + b"abc"
        + struct.pack("<I", masked(b"abc"))
    )
    assert records.unframed(framed) == b"abc"
    assert records.stored_checksum(framed) == masked(b"abc") == records.checksum(b"abc")
    assert len(framed) == 3 + records.MIN_FRAME_BYTES


def test_frames_are_read_as_they_were_written(tmp_path: pathlib.Path) -> None:
    frames = write(tmp_path / "shard", record("a"), b"", record("b", label=[7]))
    assert list(records.read_frames(tmp_path / "shard")) == frames
    assert list(records.read_unchecked_frames(tmp_path / "shard")) == frames
    write(tmp_path / "empty")
    assert list(records.read_frames(tmp_path / "empty")) == []


def test_examples_have_the_values_that_were_written() -> None:
    pytest.importorskip("tensorflow_datasets.proto")
    frames = [b"".join(records.frame(record(key))) for key in ("a", "ü")]
    parsed = list(records.parse_examples(frames, "shard", FEATURES))
    assert [key for key, _, _ in parsed] == ["a", "ü"]
    for _, image, labels in parsed:
        np.testing.assert_array_equal(image, IMAGE)
        assert image.shape == IMAGE.shape
        assert labels == {"label": [3], "box": [-1, 1 << 40]}


@pytest.mark.parametrize(
    ("name", "feature", "message"),
    [
        ("box", contract.Feature("int64", (3,)), "box has 2 values"),
        ("box", contract.Feature("int64"), "box has 2 values"),
        ("age", contract.Feature("int64"), "age has 0 values"),
        ("image", contract.Feature("uint8", (7,)), "cannot reshape"),
        ("image", contract.Feature("float32", (2, 3, 1)), "buffer size must be"),
    ],
)
def test_an_example_that_does_not_fit_is_named(
    name: str, feature: contract.Feature, message: str
) -> None:
    pytest.importorskip("tensorflow_datasets.proto")
    frames = [b"".join(records.frame(record()))]
    with pytest.raises(
        contract.DatasetError,
        match=f"^record 0 of a/shard does not fit the dataset: .*{message}",
    ):
        list(records.parse_examples(frames, "a/shard", {**FEATURES, name: feature}))
    frames = [*frames, b"".join(records.frame(b"\xff"))]
    with pytest.raises(contract.DatasetError, match=r"^record 1 of a/shard does not"):
        list(records.parse_examples(frames, "a/shard", FEATURES))


def test_damage_is_named_with_its_record(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "shard"
    first, second = write(path, record("a"), record("b"))
    whole = path.read_bytes()
    # The last byte of the file may be missing, or all but one of the second header.
    for length in (len(whole) - 1, len(first) + 1, len(first) + 11, len(first) + 12):
        path.write_bytes(whole[:length])
        assert errors(path) == "record 1 is cut off"
    for place, message in (
        (0, "damaged header"),
        (11, "damaged header"),
        (12, "wrong checksum"),
        (len(second) - 1, "wrong checksum"),
    ):
        damaged = bytearray(whole)
        damaged[len(first) + place] ^= 1
        path.write_bytes(damaged)
        assert errors(path) == f"record 1 has a {message}"
    path.write_bytes(damaged)
    assert len(list(records.read_unchecked_frames(path))) == 2


@pytest.mark.parametrize("length", [2**31 - 1, 2**31, 2**33])
def test_a_length_that_no_record_has_is_named(
    tmp_path: pathlib.Path, length: int
) -> None:
    path = tmp_path / "shard"
    head = struct.pack("<Q", length)
    path.write_bytes(
        head + struct.pack("<I", records.masked(google_crc32c.value(head)))
    )
    assert errors(path) == "record 0 is cut off"
    # The file is sparse: it takes no space on the disk.
    with path.open("r+b") as file:
        file.truncate(length + records.MIN_FRAME_BYTES)
    if length >= 2**31:
        assert errors(path).startswith(f"record 0 has {length:,} bytes, but")
