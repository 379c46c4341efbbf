"""Image files of rare forms with known pixels, because we write every value."""

import io
import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"
# Passes of an interlaced PNG: first y, first x, step in y, step in x.
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)) + (
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)


def values(bits: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Returns `[9, 13, channels]` random integers of `bits` bits, extremes included."""
    rng = np.random.default_rng(seed)
    created = rng.integers(0, 2**bits, (9, 13, channels))
    created[0, 0], created[0, 1] = 0, 2**bits - 1
    return created


def grey(levels: np.ndarray) -> np.ndarray:
    """Returns 8-bit levels `[h, w, 1]` as RGB `[h, w, 3]`."""
    return np.repeat(levels, 3, axis=2).astype(np.uint8)


def to_8_bits(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Returns integers of `bits` bits, scaled to levels 0-255 and rounded."""
    most = 2**bits - 1
    return (numbers * 255 + most // 2) // most


def over_white(colours: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Returns colours blended over white by an opacity in 0..1, rounded."""
    mixed = 255 + (colours.astype(float) - 255) * opacity
    return np.floor(mixed + 0.5).astype(np.uint8)


def packed(rows: np.ndarray, bits: int, order: str = ">") -> list[bytes]:
    """Returns each row `[h, num_values]` as bytes, the first value in the high bits."""
    if rows.dtype.kind == "f" or bits in (8, 16, 32, 64):
        kind = rows.dtype.kind if rows.dtype.kind in "fi" else "u"
        kind = kind if rows.min(initial=0) < 0 or kind == "f" else "u"
        return [row.astype(f"{order}{kind}{bits // 8}").tobytes() for row in rows]
    digits = (rows[..., None] >> np.arange(bits)[::-1]) & 1
    return [np.packbits(row.ravel().astype(np.uint8)).tobytes() for row in digits]


def chunk(name: bytes, body: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(name + body))
    return struct.pack(">I", len(body)) + name + body + crc


def png(
    pixels: np.ndarray,
    bits: int,
    colour: int,
    *before: tuple[bytes, bytes],
    after: Sequence[tuple[bytes, bytes]] = (),
    is_interlaced: bool = False,
    size: tuple[int, int] | None = None,
) -> bytes:
    """Returns a PNG file.

    Args:
        pixels: `[h, w, c]` integers.
        bits: Bits per integer.
        colour: Colour type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and
            alpha.
        before: Names and contents of the chunks before the pixels.
        after: Names and contents of the chunks after the pixels.
        is_interlaced: Whether the file is interlaced by Adam7.
        size: Height and width in the header (default: the shape of `pixels`).
    """
    passes = [pixels]
    if is_interlaced:
        passes = [pixels[y::v, x::h] for y, x, v, h in _PASSES]
    lines = [
        b"\0" + line
        for part in passes
        if part.size
        for line in packed(part.reshape(len(part), -1), bits)
    ]
    height, width = size or pixels.shape[:2]
    header = struct.pack(
        ">IIBBBBB", width, height, bits, colour, 0, 0, int(is_interlaced)
    )
    chunks = [(b"IHDR", header), *before, (b"IDAT", zlib.compress(b"".join(lines)))]
    chunks += [*after, (b"IEND", b"")]
    return PNG_START + b"".join(chunk(*parts) for parts in chunks)


def tiff(
    pixels: np.ndarray,
    bits: int,
    photometric: int,
    *,
    order: str = "<",
    sample_format: int = 1,
    extra: Sequence[int] = (),
    is_planar: bool = False,
    is_deflated: bool = False,
    tags: Mapping[int, Sequence[int]] | None = None,
) -> bytes:
    """Returns a TIFF file with one strip, or with one strip for each plane.

    Args:
        pixels: `[h, w, c]` numbers.
        bits: Bits per number.
        photometric: 0 white is zero, 1 grey, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr, 8 Lab.
        order: Byte order, `<` or `>`.
        sample_format: 1 unsigned, 2 signed, 3 floats.
        extra: Meaning of each channel after the colours: 0 unknown, 1 premultiplied
            alpha, 2 alpha.
        is_planar: Whether each channel has a plane of its own.
        is_deflated: Whether strips are compressed; libtiff reads compressed strips.
        tags: Further tags and their 16-bit values.
    """
    height, width, channels = pixels.shape
    planes = np.moveaxis(pixels, 2, 0) if is_planar else [pixels]
    strips = [
        b"".join(packed(np.reshape(p, (height, -1)), bits, order)) for p in planes
    ]
    if is_deflated:
        strips = [zlib.compress(strip) for strip in strips]
    entries: dict[int, tuple[str, Sequence[int]]] = {
        256: ("H", [width]),
        257: ("H", [height]),
        258: ("H", [bits] * channels),
        259: ("H", [8 if is_deflated else 1]),
        262: ("H", [photometric]),
        273: ("I", np.cumsum([8, *map(len, strips)])[:-1].tolist()),
        277: ("H", [channels]),
        278: ("H", [height]),
        279: ("I", [len(strip) for strip in strips]),
        284: ("H", [2 if is_planar else 1]),
        339: ("H", [sample_format] * channels),
    }
    if extra:
        entries[338] = ("H", extra)
    entries |= {tag: ("H", numbers) for tag, numbers in (tags or {}).items()}
    data = b"".join(strips)
    data += bytes(len(data) % 2)
    directory = 8 + len(data)
    rest_at = directory + 2 + 12 * len(entries) + 4
    lines, rest = b"", b""
    for tag in sorted(entries):
        code, numbers = entries[tag]
        body = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
        lines += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[code], len(numbers))
        if len(body) > 4:
            lines += struct.pack(f"{order}I", rest_at + len(rest))
            rest += body
        else:
            lines += body.ljust(4, b"\0")
    start = (b"II" if order == "<" else b"MM") + struct.pack(
        f"{order}HI", 42, directory
    )
    count = struct.pack(f"{order}H", len(entries))
    return start + data + count + lines + bytes(4) + rest


def encoded(image: Image.Image, image_format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def bmp16(pixels: np.ndarray, alpha_mask: int) -> bytes:
    """Returns a 16-bit BMP with masks: 5 bits per colour, and the last bit for alpha.

    Args:
        pixels: `[h, w, 3]` integers of 5 bits.
        alpha_mask: Alpha mask in the header.
    """
    height, width, _ = pixels.shape
    words = (pixels.astype(np.uint16) * [1 << 10, 1 << 5, 1]).sum(-1)
    lines = [line.astype("<u2").tobytes() for line in words[::-1]]
    body = b"".join(line + bytes(-len(line) % 4) for line in lines)
    sizes = struct.pack("<IiiHHII", 108, width, height, 1, 16, 3, len(body))
    masks = struct.pack("<4I", 31 << 10, 31 << 5, 31, alpha_mask)
    header = (sizes + bytes(16) + masks).ljust(108, b"\0")
    place = 14 + len(header)
    return b"BM" + struct.pack("<III", place + len(body), 0, place) + header + body


def gif_within(levels: np.ndarray, background: int, **options) -> bytes:
    """Returns a GIF of 30 x 20 pixels whose only frame begins at (4, 5).

    Args:
        levels: `[9, 13, 1]` grey levels.
        background: Palette index of the background colour.
        options: Pillow's options for saving a GIF.
    """
    image = Image.fromarray(levels[..., 0].astype(np.uint8), "P")
    image.putpalette(np.repeat(np.arange(256), 3).tolist())
    data = bytearray(encoded(image, "GIF", optimize=False, **options))
    at = data.index(b"\x2c\0\0\0\0\x0d\0\x09\0")
    data[6:10], data[11] = struct.pack("<HH", 30, 20), background
    data[at + 1 : at + 5] = struct.pack("<HH", 5, 4)
    return bytes(data)


def without_adobe(data: bytes) -> bytes:
    """Returns a JPEG without its Adobe marker."""
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4]) :]
