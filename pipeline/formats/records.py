"""Writes and reads records: serialized `Example` messages in TFRecord frames.

The image makes up 97% of its record. The protocol buffer library would copy it three
times on its way to the file, and the copies cost as much as a tenth of the decoding.
This module therefore writes the wire format itself, as a list of parts, and does not
copy the image. A test compares its bytes with the library's.
"""

import functools
import math
import os
import pathlib
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence

import google_crc32c
import numpy as np
from google.protobuf.message import DecodeError

from pipeline import contract
from pipeline.storage import paths

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_HEAD = struct.Struct("<QI")
# Size of an empty record with its header and footer.
MIN_FRAME_BYTES = _HEAD.size + _CRC.size
# Key, stored image, and integer features by name.
Example = tuple[str, np.ndarray, dict[str, list[int]]]
# Part of a serialized record.
Part = bytes | memoryview
# Protocol buffers are smaller than this, so no `Example` has a larger length.
_MAX_BYTES = 2**31
# Tags of the length-delimited fields 1 and 2.
_FIELD_1, _FIELD_2 = b"\x0a", b"\x12"
# Tags of the two kinds of feature value.
_BYTES_LIST, _INT64_LIST = b"\x0a", b"\x1a"


def encode_record(
    key: str, arrays: Mapping[str, np.ndarray], labels: Mapping[str, Sequence[int]]
) -> list[Part]:
    """Returns a serialized `Example` in parts, the same bytes for the same example.

    The joined parts equal `Example.SerializeToString(deterministic=True)`, with one
    exception. If a name is a prefix of another name, the library may write the two in
    the other order.

    Args:
        key: Value of the feature `key`.
        arrays: Features stored as raw little-endian values in row-major order, such as
            the `image`, `[height, width, channels]`.
        labels: Integer features.

    Source:
        tensorflow/core/example/feature.proto; maps are written in order of the key.
    """
    lists = {
        "key": (_BYTES_LIST, key.encode()),
        **{name: (_BYTES_LIST, _raw_bytes(array)) for name, array in arrays.items()},
        **{name: (_INT64_LIST, _packed(values)) for name, values in labels.items()},
    }
    entries = [
        (_entry_head(name, tag, len(payload)), payload)
        for name, (tag, payload) in sorted(lists.items())
    ]
    num_bytes = sum(len(head) + len(payload) for head, payload in entries)
    parts: list[Part] = []
    between = [_FIELD_1, _varint(num_bytes)]
    for head, payload in entries:
        between.append(head)
        if isinstance(payload, bytes):
            between.append(payload)
        else:
            parts += [b"".join(between), payload]
            between = []
    return [*parts, b"".join(between)]


def _raw_bytes(array: np.ndarray) -> memoryview:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def frame(*parts: Part) -> list[Part]:
    """Returns the parts of a record with its TFRecord header and footer around them.

    Source:
        tensorflow/core/lib/io/record_writer.h: length, masked CRC-32C of the length,
        data, masked CRC-32C of the data.
    """
    length = _LENGTH.pack(sum(map(len, parts)))
    head = length + _CRC.pack(masked(google_crc32c.value(length)))
    return [head, *parts, _CRC.pack(checksum(*parts))]


def unframed(framed: bytes) -> bytes:
    """Returns the record without its TFRecord header and footer."""
    return framed[_HEAD.size : -_CRC.size]


def checksum(*parts: Part) -> int:
    """Returns the masked CRC-32C that the footer of a record should hold."""
    crc = 0
    for part in parts:
        # google_crc32c accepts an array but no memoryview.
        data = part if isinstance(part, bytes) else np.frombuffer(part, np.uint8)
        crc = google_crc32c.extend(crc, data)
    return masked(crc)


def stored_checksum(framed: bytes) -> int:
    """Returns the masked CRC-32C that the footer of a record holds."""
    return _CRC.unpack(framed[-_CRC.size :])[0]


def read_frames(path: str | pathlib.Path) -> Iterator[bytes]:
    """Yields each record of a TFRecord file, with its header and footer.

    Args:
        path: Path or URL of the file.

    Raises:
        DatasetError: If a length or a checksum is wrong, or the file ends early.
    """
    for number, framed in enumerate(read_unchecked_frames(path)):
        if checksum(unframed(framed)) != stored_checksum(framed):
            raise contract.DatasetError(f"record {number} has a wrong checksum")
        yield framed


def read_unchecked_frames(path: str | pathlib.Path) -> Iterator[bytes]:
    """Yields the same bytes as `read_frames`, but does not check record checksums.

    Raises:
        DatasetError: If a length or its checksum is wrong, or the file ends early.
    """
    with paths.open_file(str(path)) as file:
        remaining = file.seek(0, os.SEEK_END)
        file.seek(0)
        number = 0
        while head := file.read(_HEAD.size):
            if len(head) < _HEAD.size:
                raise contract.DatasetError(f"record {number} is cut off")
            length, length_crc = _HEAD.unpack(head)
            if masked(google_crc32c.value(head[:8])) != length_crc:
                raise contract.DatasetError(f"record {number} has a damaged header")
            if length + MIN_FRAME_BYTES > remaining:
                raise contract.DatasetError(f"record {number} is cut off")
            if length >= _MAX_BYTES:
                raise contract.DatasetError(
                    f"record {number} has {length:,} bytes, but a record must have "
                    f"fewer than {_MAX_BYTES:,}"
                )
            body = file.read(length + _CRC.size)
            remaining -= _HEAD.size + len(body)
            number += 1
            yield head + body


def parse_examples(
    frames: Iterable[bytes], path: str, features: Mapping[str, contract.Feature]
) -> Iterator[Example]:
    """Yields key, stored image and integer features of each record of a shard.

    Args:
        frames: Records from `read_frames`.
        path: Path of the shard, for error messages.
        features: Type and shape of each feature of a record, by name.

    Raises:
        DatasetError: If a record does not match these features.
    """
    # Imported lazily: the import takes as long as preparing a thousand images.
    from tensorflow_datasets.proto import tf_example_pb2

    image = features["image"]
    names = [name for name in features if name not in ("key", "image")]
    dtype = np.dtype(image.dtype).newbyteorder("<")
    for number, framed in enumerate(frames):
        try:
            example = tf_example_pb2.Example.FromString(unframed(framed))
            stored_features = example.features.feature
            key = stored_features["key"].bytes_list.value[0].decode()
            stored = stored_features["image"].bytes_list.value[0]
            pixels = np.frombuffer(stored, dtype).reshape(image.shape)
            labels = {
                name: list(stored_features[name].int64_list.value) for name in names
            }
            for name, values in labels.items():
                if len(values) != math.prod(features[name].shape):
                    raise ValueError(f"{name} has {len(values)} values")
        except (DecodeError, IndexError, ValueError) as error:
            raise contract.DatasetError(
                f"record {number} of {path} does not fit the dataset: {error}"
            ) from error
        yield key, pixels, labels


def masked(crc: int) -> int:
    """Returns a CRC-32C in the masked form that TFRecord files store."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


# The records of a shard repeat the same few heads and integers, so both are cached.
@functools.lru_cache(maxsize=1024)
def _entry_head(name: str, tag: bytes, num_bytes: int) -> bytes:
    """Returns the bytes of a map entry that precede a feature's payload.

    Args:
        name: Name of the feature.
        tag: Tag of the kind of the feature's value.
        num_bytes: Size of the payload in bytes.
    """
    is_empty = tag == _INT64_LIST and not num_bytes
    list_head = b"" if is_empty else _FIELD_1 + _varint(num_bytes)
    feature_head = tag + _varint(len(list_head) + num_bytes) + list_head
    encoded_name = name.encode()
    entry = _FIELD_1 + _varint(len(encoded_name)) + encoded_name
    entry += _FIELD_2 + _varint(len(feature_head) + num_bytes) + feature_head
    return _FIELD_1 + _varint(len(entry) + num_bytes) + entry


def _packed(values: Sequence[int]) -> bytes:
    return b"".join([_varint(value) for value in values])


@functools.lru_cache(maxsize=4096)
def _varint(value: int) -> bytes:
    """Returns a 64-bit integer as a varint: groups of seven bits, lowest first."""
    value &= 0xFFFFFFFFFFFFFFFF
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
