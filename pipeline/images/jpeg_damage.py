"""Damage in the scans of a JPEG, which libjpeg decodes and only warns of.

libjpeg fills missing blocks with grey. Pillow drops its warnings; simplejpeg, which
calls the same library, raises the first one. Bytes after the end marker are not read:
cameras put other pictures there.
"""

import simplejpeg

# Beginnings of libjpeg's warnings of damage: a scan or the file ends early, a code is
# in no table, bytes are left over, a restart marker is wrong. Other warnings are about
# odd numbers in headers, and the image is decoded as it was meant.
_DAMAGE = ("Corrupt JPEG data", "Premature end of JPEG file")

# Colours to decode to, by the colours of the file; RGB for any other.
_OUTPUTS = {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}

_MARK, _START_OF_SCAN, _COMMENT = 0xFF, 0xDA, 0xFE
_APPLICATION = range(0xE0, 0xF0)
# Markers that no length follows: restarts, and one for temporary use.
_BARE = (0x01, *range(0xD0, 0xD8))


def find_damage(data: bytes) -> str | None:
    """Returns libjpeg's first warning of damage in the scans of a JPEG, or None.

    Args:
        data: The content of a JPEG file that can be decoded, in any colours.
    """
    plain = _without_metadata(data)
    try:
        _, _, colours, _ = simplejpeg.decode_jpeg_header(plain)
        simplejpeg.decode_jpeg(plain, _OUTPUTS.get(colours, "RGB"), strict=True)
    except ValueError as error:
        return str(error) if str(error).startswith(_DAMAGE) else None
    return None


def _without_metadata(data: bytes) -> bytes:
    """Returns a JPEG without its metadata, and without bytes between its headers.

    The first warning hides all later ones: a warning of metadata, which is no damage to
    the image, would hide a warning of a scan.
    """
    segments = [data[:2]]
    place = 2
    while (place := data.find(_MARK, place)) >= 0:
        while data[place : place + 1] == b"\xff":
            place += 1
        marker = data[place] if place < len(data) else _START_OF_SCAN
        if marker == _START_OF_SCAN:
            return b"".join([*segments, data[place - 1 :]])
        if marker and marker not in _BARE:
            start = place - 1
            place += 1 + int.from_bytes(data[place + 1 : place + 3])
            if marker not in _APPLICATION and marker != _COMMENT:
                segments.append(data[start:place])
    return data
