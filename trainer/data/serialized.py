"""Takes serialized Examples apart without parsing them.

Example {features {entry of "attributes"} {of "image"} {of "key"} ...}, as bytes: the
opening, and then all entries in turn, each with its length in front.
"""

import functools

# Tags of the length-delimited fields number 1 and 2.
_FIELD_1, _FIELD_2 = b"\x0a", b"\x12"


def mark(name: str, num_bytes: int) -> bytes:
    """Returns the bytes between the start of an entry and its array.

    Source:
        tensorflow/core/example/feature.proto: an entry of the map `Features.feature` is
        a name and a `Feature`; the `Feature` holds a `BytesList`.
    """
    head = b""
    for tag in (_FIELD_1, _FIELD_1, _FIELD_2):
        head = tag + _varint(len(head) + num_bytes) + head
    head = _FIELD_1 + _varint(len(name.encode())) + name.encode() + head
    return _FIELD_1 + _varint(len(head) + num_bytes) + head


def example(*entries: bytes) -> bytes:
    """Returns a serialized `Example` with the given entries of features."""
    return b"".join((_tagged(sum(map(len, entries))), *entries))


@functools.lru_cache(maxsize=4096)
def _tagged(num_bytes: int) -> bytes:
    """Returns the tag and the length in front of the entries of an `Example`."""
    return _FIELD_1 + _varint(num_bytes)


@functools.lru_cache(maxsize=4096)
def opening(num_bytes: int) -> bytes:
    """Returns the first bytes of an `Example` that is `num_bytes` long."""
    size = 2
    while len(_tagged(max(num_bytes - size, 0))) > size:
        size += 1
    return _tagged(max(num_bytes - size, 0))


def _varint(value: int) -> bytes:
    """Returns a number as groups of seven bits, the lowest group first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
