"""Finds forms of image files that Pillow opens but shows with wrong colours.

    TIFF    signed integers, YCbCr without compression, some files in planes, a palette
            of 8-bit values, inks other than CMYK
    PNG     16-bit RGB with a transparent colour
    BMP     16 bits with transparency
    GIF     a first frame that leaves some of the background uncovered
    JPEG    CMYK that does not say which value is full ink

Source:
    "TIFF, Revision 6.0", sections 2, 3, 16, 21, and libtiff's `tif_getimage.c`; W3C,
    "PNG Specification", section 11.3.1.1; CompuServe, "GIF89a", section 18.
"""

import io

from PIL import GifImagePlugin, Image, PngImagePlugin, TiffImagePlugin

_WHITE_IS_ZERO, _YCBCR = 0, 6
_SIGNED = 2
_CMYK_INKS = 1
_SEPARATE_PLANES = 2
_INK_SET = 332
_TAG_NAMES = {
    TiffImagePlugin.PHOTOMETRIC_INTERPRETATION: "photometric interpretation",
    TiffImagePlugin.BITSPERSAMPLE: "bits per sample",
    TiffImagePlugin.SAMPLEFORMAT: "sample format",
    TiffImagePlugin.EXTRASAMPLES: "extra samples",
}
_TIFF_STARTS = (b"II*\0", b"MM\0*")
# (Name, bytes) of the starts of files that Pillow cannot open if they are damaged.
_DAMAGED_STARTS = (
    ("a damaged or 12-bit JPEG", b"\xff\xd8\xff"),
    ("a damaged PNG", b"\x89PNG\r\n\x1a\n"),
)
# Byte offsets in a BMP: header length, bits, compression and the alpha mask.
_BMP_HEADER, _BMP_BITS, _BMP_COMPRESSION, _BMP_ALPHA = 14, 28, 30, 66
_BITFIELDS = 3
# Pillow's names of a JPEG, and of a JPEG that other images follow.
_JPEGS = ("JPEG", "MPO")
# Pillow's raw mode of a grey PNG with 2 or 4 bits -> its white level.
_NARROW_GREYS = {"L;2": 3, "L;4": 15}


def find_fault(image: Image.Image, data: bytes) -> str | None:
    """Returns the form of an image if Pillow shows it with wrong colours, else None.

    Args:
        image: Image that was opened but not loaded.
        data: Content of its file.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _fault_of_tiff(image)
    if isinstance(image, PngImagePlugin.PngImageFile):
        if _raw_mode(image) == "RGB;16B" and "transparency" in image.info:
            return "16-bit PNG with a transparent colour"
    elif isinstance(image, GifImagePlugin.GifImageFile):
        return _fault_of_gif(image)
    elif image.format == "BMP":
        return _fault_of_bmp(data)
    elif image.format in _JPEGS and image.mode == "CMYK" and "adobe" not in image.info:
        return "CMYK JPEG without the Adobe marker, so 0 may mean full ink or none"
    return None


def describe_unread(data: bytes) -> str:
    """Describes a damaged image; returns "" if its type is unknown.

    `file_types` describes files of other types.

    Args:
        data: Content of the file.

    Raises:
        Exception: Any error that Pillow raises on damaged input.
    """
    for name, start in _DAMAGED_STARTS:
        if data.startswith(start):
            return f"; it begins like {name}"
    if not data.startswith(_TIFF_STARTS):
        return ""
    tags = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
    file = io.BytesIO(data)
    file.seek(tags.next)
    tags.load(file)
    return "; it is a TIFF of " + ", ".join(
        f"{name} {_shown(tags.get(tag))}" for tag, name in _TAG_NAMES.items()
    )


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return "not given" if value is None else str(value)


def grey_range(image: Image.Image) -> tuple[int, int]:
    """Returns the values of black and white in a 12-bit or 16-bit grey image.

    Args:
        image: Image that was opened but not loaded.
    """
    black, white = 0, 65_535
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        if image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE) == (12,):
            white = 4095
        photometric = image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 0)
        if photometric == _WHITE_IS_ZERO:
            black, white = white, black
    return black, white


def scale_transparency(image: Image.Image) -> None:
    """Scales the transparent grey of a 2-bit or 4-bit PNG to 8 bits, like its pixels.

    Args:
        image: Image that was opened but not loaded.
    """
    white = _NARROW_GREYS.get(_raw_mode(image)) if image.format == "PNG" else None
    if white is not None and "transparency" in image.info:
        image.info["transparency"] *= 255 // white


def _raw_mode(image: Image.Image) -> str:
    """Returns Pillow's raw mode of a PNG's pixels, such as `L;4`."""
    arguments = image.tile[0].args if image.tile else ""
    return arguments if isinstance(arguments, str) else ""


def _fault_of_tiff(image: TiffImagePlugin.TiffImageFile) -> str | None:
    tags = image.tag_v2
    bits = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    is_raw = image.info["compression"] == "raw"
    photometric = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, _WHITE_IS_ZERO)
    palette = tags.get(TiffImagePlugin.COLORMAP, ())
    if _SIGNED in tags.get(TiffImagePlugin.SAMPLEFORMAT, ()) and bits < 32:
        return f"TIFF of signed {bits}-bit integers"
    if photometric == _YCBCR and is_raw and image.mode == "RGB":
        return "TIFF of YCbCr without compression"
    if tags.get(_INK_SET, _CMYK_INKS) != _CMYK_INKS:
        return "TIFF of inks other than CMYK"
    if image.mode in ("P", "PA") and 0 < max(palette, default=0) < 256:
        return "TIFF whose palette has 8-bit values instead of 16-bit ones"
    if tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) != _SEPARATE_PLANES:
        return None
    if image.mode in ("LA", "PA") or (
        is_raw and bits > 8 and len(image.getbands()) > 1
    ):
        return f"TIFF of {image.mode}, {bits} bits, in separate planes"
    return None


def _fault_of_gif(image: GifImagePlugin.GifImageFile) -> str | None:
    is_covered = image.tile[0].extents == (0, 0, *image.size)
    if is_covered or "transparency" in image.info or not image.info.get("background"):
        return None
    return "GIF whose first frame does not cover its background"


def _fault_of_bmp(data: bytes) -> str | None:
    is_narrow = _number(data, _BMP_BITS, 2) == 16
    has_masks = _number(data, _BMP_COMPRESSION, 4) == _BITFIELDS
    # Shorter headers have no alpha mask.
    if is_narrow and has_masks and _number(data, _BMP_HEADER, 4) >= 56:
        return "16-bit BMP with transparency" if _number(data, _BMP_ALPHA, 4) else None
    return None


def _number(data: bytes, place: int, num_bytes: int) -> int:
    return int.from_bytes(data[place : place + num_bytes], "little")
