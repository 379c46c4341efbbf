"""Serialized Examples, taken apart without parsing them.

Example {features {entry of "attributes"} {of "image"} {of "key"} ...}, as bytes: the
opening, and then one entry after another, each of which has its length before it.
"""

import functools

# Tags of the length-delimited fields number 1 and 2.
_FIELD_1, _FIELD_2 = b"\x0a", b"\x12"


def mark(name: str, num_bytes: int) -> bytes:
    """Returns what precedes the bytes of an array in a record, all but the opening.

    Source:
        tensorflow/core/example/feature.proto: an entry of the map `Features.feature`
        is a name and a `Feature`, that a `BytesList`.
    """
    head = b""
    for tag in (_FIELD_1, _FIELD_1, _FIELD_2):
        head = tag + _varint(len(head) + num_bytes) + head
    head = _FIELD_1 + _varint(len(name.encode())) + name.encode() + head
    return _FIELD_1 + _varint(len(head) + num_bytes) + head


def example(*entries: bytes) -> bytes:
    """Returns a serialized `Example` of the features whose entries these are."""
    return b"".join((_tagged(sum(map(len, entries))), *entries))


@functools.lru_cache(maxsize=4096)
def _tagged(num_bytes: int) -> bytes:
    """Returns what precedes the entries of an `Example`."""
    return _FIELD_1 + _varint(num_bytes)


@functools.lru_cache(maxsize=4096)
def opening(num_bytes: int) -> bytes:
    """Returns what an `Example` of so many bytes begins with."""
    size = 2
    while len(_tagged(max(num_bytes - size, 0))) > size:
        size += 1
    return _tagged(max(num_bytes - size, 0))


def _varint(value: int) -> bytes:
    """Returns a number in seven-bit groups, the lowest first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
