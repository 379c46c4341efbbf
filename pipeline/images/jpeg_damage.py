"""Finds damage in the scans of a JPEG that libjpeg only warns about.

libjpeg fills missing blocks with grey. Pillow drops libjpeg's warnings. simplejpeg
calls the same library and raises the first warning. Bytes after the end marker are not
read, because cameras put other pictures there.
"""

import simplejpeg

# Beginnings of libjpeg's warnings of damage: a scan or the file ends early, a code is
# in no table, bytes are left over, or a restart marker is wrong. Other warnings are
# about odd numbers in the headers of images that decode correctly.
_DAMAGE = ("Corrupt JPEG data", "Premature end of JPEG file")

# Colours of the file -> colours to decode to; RGB for colours that are not listed.
_OUTPUTS = {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}

_MARK, _START_OF_SCAN, _COMMENT = 0xFF, 0xDA, 0xFE
_APPLICATION = range(0xE0, 0xF0)
# Markers without a length after them: restarts, and one for temporary use.
_BARE = (0x01, *range(0xD0, 0xD8))


def find_damage(data: bytes) -> str | None:
    """Returns libjpeg's first warning of damage in the scans of a JPEG, or None.

    Args:
        data: Content of a JPEG file that can be decoded, in any colours.
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

    libjpeg's first warning hides all later ones. A warning about metadata, which does
    not damage the image, would hide a warning about a scan.
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
