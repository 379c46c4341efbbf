"""JPEGs of every form, sound and damaged."""

import io

import numpy as np
from PIL import ExifTags, Image

END = b"\xff\xd9"


def picture(seed: int = 0, width: int = 90, height: int = 70) -> Image.Image:
    """Returns a picture with noise, which gives every JPEG block many codes."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    noisy = smooth + rng.normal(0, 12, smooth.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def sound_forms(seed: int = 0) -> dict[str, bytes]:
    """Returns undamaged JPEGs, keyed by the name of their form."""
    image = picture(seed)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    plain = encoded(image)
    return {
        "plain": plain,
        "every pixel's colour": encoded(image, subsampling="4:4:4", quality=95),
        "wide pixels": encoded(image, subsampling="4:2:2"),
        "best": encoded(image, quality=100),
        "worst": encoded(image, quality=1),
        "own tables": encoded(image, optimize=True),
        "progressive": encoded(image, progressive=True),
        "restarts": encoded(image, restart_marker_blocks=2),
        "rows of restarts": encoded(image, restart_marker_rows=1),
        "grey": encoded(image.convert("L")),
        "progressive grey": encoded(image.convert("L"), progressive=True),
        "CMYK": encoded(image.convert("CMYK")),
        "stored as RGB": encoded(image, keep_rgb=True),
        "turned": encoded(image, exif=exif.tobytes()),
        "turned, progressive": encoded(image, exif=exif.tobytes(), progressive=True),
        "with a comment": encoded(image, comment=END * 9),
        "one colour": encoded(Image.new("RGB", (64, 48), (128, 128, 128))),
        "a pixel": encoded(Image.new("RGB", (1, 1), "red")),
        "a trailer": plain + b"\0\0\x01\x0a\x0e\0\0\0Image_UTC_Data1700000000000SEFT",
        "zeros behind": plain + bytes(1000),
        "another behind": plain + encoded(picture(seed + 1)),
        "the end twice": plain + END,
        "fill bytes": b"\xff\xd8\xff\xff\xff" + plain[3:],
        "bytes before a header": b"\xff\xd8" + b"\xff\0" * 5 + plain[2:],
        "a future revision": plain.replace(b"JFIF\0\1", b"JFIF\0\3"),
    }


def scan_start(data: bytes) -> int:
    """Returns the offset of the coded pixels in a JPEG without a thumbnail."""
    at = data.index(b"\xff\xda")
    return at + 2 + int.from_bytes(data[at + 2 : at + 4])


def scan_end(data: bytes) -> int:
    """Returns the offset of the first end marker after the coded pixels."""
    return data.index(END, scan_start(data))


def cut_to_a_quarter(data: bytes) -> bytes:
    """Returns the headers and a quarter of the coded pixels, with an end marker."""
    start = scan_start(data)
    kept = data[: start + (scan_end(data) - start) // 4]
    return kept.removesuffix(b"\xff") + END


def with_changed_bytes(data: bytes, seed: int, number: int = 10) -> bytes:
    """Returns a JPEG with random values in some bytes of its coded pixels."""
    rng = np.random.default_rng(seed)
    changed = bytearray(data)
    for place in rng.integers(scan_start(data), scan_end(data), number):
        changed[place] = rng.integers(255)
    return bytes(changed)
