import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageOps

from pipeline import sources
from pipeline.images import rgb, squares

HEIGHT, WIDTH = 20, 30


def drawn(mode: str = "RGB") -> Image.Image:
    """Returns an image that survives JPEG nearly unchanged."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    pixels = np.stack([8 * x, 12 * y, 255 - 4 * (x + y)], axis=-1).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, image_format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def with_orientation(value: object) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = value
    return exif


def is_near(pixels: np.ndarray, expected: object, mean_levels: float = 6.0) -> bool:
    expected = np.asarray(expected, np.float64)
    assert pixels.dtype == np.uint8
    assert pixels.shape == expected.shape
    return np.abs(pixels - expected).mean() <= mean_levels


def rejected(data: bytes) -> tuple[str, str]:
    with pytest.raises(squares.RejectedImageError) as error:
        rgb.decode_as_rgb(data)
    return error.value.reason, error.value.detail


@pytest.mark.parametrize(
    ("mode", "image_format"),
    [
        ("RGB", "PNG"),
        ("RGB", "BMP"),
        ("RGB", "TIFF"),
        ("RGB", "PPM"),
        ("RGBA", "PNG"),
        ("RGBA", "TIFF"),
        ("RGBX", "TIFF"),
        ("L", "PNG"),
        ("L", "PPM"),
        ("LA", "PNG"),
        ("1", "PNG"),
        ("1", "BMP"),
        ("1", "PPM"),
        ("P", "PNG"),
        ("P", "GIF"),
        ("CMYK", "TIFF"),
    ],
)
def test_every_mode_of_a_lossless_file_becomes_rgb(mode, image_format):
    image = drawn(mode)
    pixels = rgb.decode_as_rgb(encoded(image, image_format))
    np.testing.assert_array_equal(pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    ("mode", "image_format", "options"),
    [
        ("RGB", "JPEG", {}),
        ("RGB", "JPEG", {"progressive": True}),
        ("L", "JPEG", {}),
        ("CMYK", "JPEG", {}),
        ("RGB", "WEBP", {}),
        ("RGB", "AVIF", {}),
        ("RGB", "MPO", {}),
    ],
)
def test_every_lossy_file_becomes_rgb(mode, image_format, options):
    image = drawn(mode)
    data = encoded(image, image_format, quality=95, **options)
    assert is_near(rgb.decode_as_rgb(data), image.convert("RGB"))


def test_a_plain_jpeg_is_decoded_fast_to_pillows_pixels(make_face, monkeypatch):
    monkeypatch.setattr(Image, "open", None)
    fast = rgb.decode_as_rgb(make_face(0))
    progressive = encoded(drawn(), "JPEG", progressive=True)
    fast_progressive = rgb.decode_as_rgb(progressive)
    monkeypatch.undo()
    np.testing.assert_array_equal(fast, squares.decode_with_pillow(make_face(0)))
    np.testing.assert_array_equal(
        fast_progressive, squares.decode_with_pillow(progressive)
    )


def test_transparency_is_laid_over_white():
    pixels = np.zeros((2, 3, 4), np.uint8)
    pixels[..., :3] = (200, 100, 0)
    pixels[..., 3] = (0, 51, 255)
    data = encoded(Image.fromarray(pixels), "PNG")
    expected = [[255, 255, 255], [244, 224, 204], [200, 100, 0]]
    np.testing.assert_array_equal(rgb.decode_as_rgb(data)[0], expected)
    grey = Image.fromarray(pixels[..., 2:], "LA")
    expected = [[255] * 3, [204] * 3, [0] * 3]
    np.testing.assert_array_equal(rgb.decode_as_rgb(encoded(grey, "PNG"))[0], expected)


@pytest.mark.parametrize(
    ("mode", "value", "transparency"),
    [
        ("P", 1, 1),
        ("P", 1, bytes([255, 0])),
        ("L", 3, 3),
        ("1", 0, 0),
        ("RGB", (1, 2, 3), (1, 2, 3)),
    ],
)
def test_a_transparent_colour_is_white(mode, value, transparency):
    image = Image.new(mode, (2, 1), value)
    if mode == "P":
        image.putpalette([0, 0, 0, 10, 20, 30])
    data = encoded(image, "PNG", transparency=transparency)
    np.testing.assert_array_equal(rgb.decode_as_rgb(data), 255)
    if mode != "RGB":
        opaque = rgb.decode_as_rgb(encoded(image, "PNG"))
        assert opaque.max() < 255


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "PPM"])
def test_16_bits_of_grey_are_rounded_to_8(image_format):
    values = np.array([[0, 128, 129, 257 * 7, 65_406, 65_407, 65_535]], np.uint16)
    pixels = rgb.decode_as_rgb(encoded(Image.fromarray(values), image_format))
    expected = [0, 0, 1, 7, 254, 255, 255]
    np.testing.assert_array_equal(pixels, np.repeat([expected], 3, 0).T[None])


def test_pixels_without_a_known_black_and_white_are_rejected():
    floats = Image.fromarray(np.ones((4, 4), np.float32))
    wide = Image.fromarray(np.full((4, 4), 65_536, np.int32))
    negative = Image.fromarray(np.full((4, 4), -1, np.int32))
    profiles = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
    lab = ImageCms.profileToProfile(drawn(), *profiles, outputMode="LAB")
    for image, detail in (
        (floats, "F cannot be converted to RGB"),
        (wide, "I with values from 65536 to 65536 instead of 0 to 65535"),
        (negative, "I with values from -1 to -1 instead of 0 to 65535"),
        (lab, "LAB cannot be converted to RGB"),
    ):
        assert rejected(encoded(image, "TIFF")) == ("mode", detail)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied(image_format, orientation):
    options = {"lossless": True} if image_format == "WEBP" else {}
    exif = with_orientation(orientation)
    data = encoded(drawn(), image_format, exif=exif, **options)
    method = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    expected = drawn() if method is None else drawn().transpose(method)
    assert is_near(rgb.decode_as_rgb(data), expected)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [None, 1, 6, 9])
def test_grey_is_upright_too(image_format, orientation):
    image = drawn("L")
    options = {} if orientation is None else {"exif": with_orientation(orientation)}
    data = encoded(image, image_format, **options)
    if image_format == "WEBP":
        with pytest.raises(squares.RejectedImageError, match="RGB instead of L"):
            rgb.decode_as_grey(data)
        return
    expected = rgb.decode_as_rgb(data)[..., :1]
    np.testing.assert_array_equal(rgb.decode_as_grey(data), expected)
    assert (expected.shape == (WIDTH, HEIGHT, 1)) == (orientation == 6)


def test_a_jpeg_with_exif_is_still_decoded_fast(monkeypatch):
    monkeypatch.setattr(squares, "load_sound", None)
    for mode in ("RGB", "L"):
        data = encoded(drawn(mode), "JPEG", exif=with_orientation(1))
        assert rgb.decode_as_rgb(data).shape == (HEIGHT, WIDTH, 3)
        turned = encoded(drawn(mode), "JPEG", exif=with_orientation(6))
        assert rgb.decode_as_rgb(turned).shape == (WIDTH, HEIGHT, 3)


def test_an_orientation_in_xmp_is_applied():
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = encoded(drawn(), "JPEG", xmp=xmp)
    assert rgb.decode_as_rgb(data).shape == (WIDTH, HEIGHT, 3)


def test_damaged_metadata_leave_an_image_as_it_is():
    sound = encoded(drawn(), "JPEG", exif=with_orientation(6))
    start = sound.index(b"Exif\0\0") + 6
    for at, value in ((0, b"XX"), (8, b"\xff\xff"), (12, b"\x0a\x00")):
        data = sound[: start + at] + value + sound[start + at + len(value) :]
        pixels = rgb.decode_as_rgb(data)
        assert sorted(pixels.shape) == [3, HEIGHT, WIDTH]


def with_a_cut_tag() -> bytes:
    """Returns a CMYK JPEG, which only Pillow decodes, with a tag that is cut off."""
    data = encoded(drawn("CMYK"), "JPEG", exif=with_orientation(1))
    entry = data.index(b"Exif\0\0") + 6 + 8 + 2
    damaged = struct.pack(">HHII", 0x010F, 2, 4000, 4000)
    return data[:entry] + damaged + data[entry + 12 :]


def test_warnings_of_pillow_are_errors_from_the_first_image_on():
    rgb.decode_as_rgb(encoded(drawn(), "PNG"))
    with pytest.raises(UserWarning, match="Truncated File Read"):
        Image.open(io.BytesIO(with_a_cut_tag())).getexif().get(0x010F)


def test_what_pillow_only_warns_of_is_no_reject():
    data = with_a_cut_tag()
    squares.raise_warnings()
    with pytest.raises(UserWarning, match="Truncated File Read"):
        Image.open(io.BytesIO(data)).getexif().get(0x010F)
    assert is_near(rgb.decode_as_rgb(data), drawn("CMYK").convert("RGB"))
    # Afterwards Pillow is as strict as before.
    with pytest.raises(UserWarning, match="Truncated File Read"):
        Image.open(io.BytesIO(data)).getexif().get(0x010F)


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_several_frames_the_first_is_taken(image_format):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], image_format, save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert is_near(rgb.decode_as_rgb(data), frames[0], mean_levels=2)


@pytest.mark.parametrize("side", [1, 27, 6000])
def test_any_size_up_to_a_bomb(side):
    image = Image.new("RGB", (side, 2), "red")
    assert rgb.decode_as_rgb(encoded(image, "PNG")).shape == (2, side, 3)


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_decompression_bomb_is_rejected_by_its_header(side, make_face):
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        crc = zlib.crc32(name + body)
        png += struct.pack(">I", len(body)) + name + body + struct.pack(">I", crc)
    assert rejected(png)[0] == "oversized"
    jpeg = make_face(0)
    at = jpeg.index(b"\xff\xc0")
    jpeg = jpeg[: at + 5] + struct.pack(">HH", side, side) + jpeg[at + 9 :]
    assert rejected(jpeg)[0] == "oversized"


def test_no_image_is_rejected():
    assert rejected(b"")[0] == "unreadable"
    assert rejected(b"<html></html>")[0] == "unreadable"
    postscript = encoded(drawn(), "EPS")
    assert rejected(postscript)[0] == "unreadable"


@pytest.mark.parametrize(
    "image_format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF"]
)
def test_a_truncated_file_is_rejected(image_format):
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    data = encoded(noise, image_format)
    assert rejected(data[: len(data) // 2])[0] in ("truncated", "unreadable")
    assert rejected(data[: -len(data) // 10])[0] in ("truncated", "unreadable")


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "PPM"])
def test_damaged_files_raise_nothing_else(image_format):
    rng = np.random.default_rng(0)
    noise = Image.effect_noise((24, 20), 90).convert("RGB")
    options = {} if image_format in ("GIF", "PPM") else {"exif": with_orientation(6)}
    sound = encoded(noise, image_format, **options)
    reasons = set()
    for _ in range(200):
        data = bytearray(sound)
        for position in rng.integers(0, min(len(data), 400), 3):
            data[position] = rng.integers(256)
        try:
            assert rgb.decode_as_rgb(bytes(data)).shape[2] == 3
        except squares.RejectedImageError as error:
            reasons.add(error.reason)
    assert reasons
    assert reasons <= set(squares.REASONS)


def test_photographs_are_as_the_celeba_source_has_them(real_celeba_dir):
    listing = sources.list_images("celeba", real_celeba_dir)
    split = listing.by_split()["validation"]
    for key, location in zip(split.keys, split.locations, strict=True):
        data = listing.reader.read(key, location)
        np.testing.assert_array_equal(rgb.decode_as_rgb(data), squares.decode(data))


def test_it_is_what_a_viewer_shows(make_face):
    data = make_face(3)
    turned = encoded(Image.open(io.BytesIO(data)), "JPEG", exif=with_orientation(8))
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(turned)))
    np.testing.assert_array_equal(rgb.decode_as_rgb(turned), np.asarray(shown))
