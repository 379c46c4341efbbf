import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline import contract, sources
from pipeline.images import resizing, squares


def preprocess(data, **changes):
    values = {
        "image_size": 16,
        "image_dtype": "float32",
        "resize": "bilinear",
        "crop_size": 0,
    }
    return squares.preprocess(data, **{**values, **changes})


def rejected(data, **changes):
    with pytest.raises(squares.RejectedImageError) as error:
        preprocess(data, **changes)
    assert error.value.detail
    return error.value.reason


def bomb(width, height):
    """Returns a PNG that announces a size and has no pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = b""
    for name, body in ((b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        crc = zlib.crc32(name + body)
        chunks += struct.pack(">I", len(body)) + name + body + struct.pack(">I", crc)
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("dtype", contract.IMAGE_DTYPES)
def test_it_is_pillows_crop_and_resize_scaled(make_face, encode, dtype):
    pixels = np.random.default_rng(0).integers(0, 256, (21, 30, 3), dtype=np.uint8)
    stored = preprocess(encode(pixels, "PNG"), image_dtype=dtype)
    square = Image.fromarray(pixels).crop((4, 0, 25, 21))
    expected = np.asarray(square.resize((16, 16), Image.Resampling.BILINEAR))
    scale, offset = contract.IMAGE_DTYPES[dtype]
    assert stored.dtype == dtype
    assert stored.shape == (16, 16, 3)
    np.testing.assert_allclose(
        stored.astype(np.float64) * scale + offset,
        expected / 127.5 - 1,
        atol=2.5e-4 if dtype == "float16" else 1e-7,
    )


@pytest.mark.parametrize("resize", resizing.RESIZES)
def test_pixels_are_taken_as_they_are(resize):
    for num_channels in (1, 2, 3):
        pixels = np.random.default_rng(0).integers(
            0, 256, (16, 20, num_channels), dtype=np.uint8
        )
        stored = preprocess(pixels, resize=resize, image_dtype="uint8")
        np.testing.assert_array_equal(stored, pixels[:, 2:18])
        stored = preprocess(pixels, resize=resize)
        np.testing.assert_allclose(stored, pixels[:, 2:18] / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize("resize", resizing.RESIZES)
def test_each_channel_is_resized_alone(encode, resize):
    pixels = np.random.default_rng(0).integers(0, 256, (21, 30, 3), dtype=np.uint8)
    colour = preprocess(encode(pixels, "PNG"), resize=resize)
    for channel in range(3):
        grey = preprocess(pixels[..., channel : channel + 1], resize=resize)
        assert grey.shape == (16, 16, 1)
        np.testing.assert_array_equal(grey[..., 0], colour[..., channel])


def test_every_pixel_survives_float16():
    stored = squares._SCALED["float16"].astype(np.float64)
    np.testing.assert_array_equal(np.rint((stored + 1) * 127.5), np.arange(256))
    assert stored[0] == -1
    assert stored[255] == 1


@pytest.mark.parametrize("resize", resizing.RESIZES)
def test_every_filter_stays_in_range_and_keeps_a_constant(encode, resize):
    pixels = np.full((30, 30, 3), 200, np.uint8)
    for dtype, expected in (("uint8", 200), ("float32", 200 / 127.5 - 1)):
        stored = preprocess(encode(pixels, "PNG"), resize=resize, image_dtype=dtype)
        np.testing.assert_allclose(stored, expected, atol=1e-6)
    noise = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    stored = preprocess(encode(noise, "PNG"), resize=resize)
    assert stored.min() >= -1
    assert stored.max() <= 1


@pytest.mark.parametrize(
    ("shape", "crop_size", "corner", "side"),
    [
        ((218, 178), 0, (20, 0), 178),
        ((7, 4), 0, (1, 0), 4),
        ((4, 7), 0, (0, 1), 4),
        ((5, 5), 0, (0, 0), 5),
        ((218, 178), 108, (55, 35), 108),
        ((5, 5), 2, (1, 1), 2),
        ((5, 5), 5, (0, 0), 5),
    ],
)
def test_centre_crop(shape, crop_size, corner, side):
    rows, columns = np.indices(shape)
    image = np.stack([rows, columns], axis=-1)
    square = squares.centre_crop(image, crop_size)
    assert square.shape == (side, side, 2)
    assert tuple(square[0, 0]) == corner


def test_legacy_bilinear_scales_crops_and_resizes_in_that_order(encode):
    pixels = np.random.default_rng(0).integers(0, 256, (21, 30, 3), dtype=np.uint8)
    scaled = (pixels / 127.5 - 1).astype(np.float32)
    expected = resizing.resize_legacy_bilinear(scaled[:, 4:25], 16)
    data = encode(pixels, "PNG")
    stored = preprocess(data, resize="legacy_bilinear")
    np.testing.assert_allclose(stored, expected, atol=1e-6)
    stored = preprocess(data, resize="legacy_bilinear", image_dtype="uint8")
    np.testing.assert_allclose(stored / 127.5 - 1, expected, atol=0.51 / 127.5)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_jpeg_of_another_mode_is_rejected(make_face, encode, mode):
    assert rejected(encode(np.zeros((20, 20, 3), np.uint8), "JPEG", mode)) == "mode"


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "LA", "I;16"])
def test_a_png_of_another_mode_is_rejected(encode, mode):
    if mode == "I;16":
        data = encode(np.zeros((20, 20), np.uint16), "PNG", mode)
    else:
        data = encode(np.zeros((20, 20, 3), np.uint8), "PNG", mode)
    assert rejected(data) == "mode"


def test_a_small_image_is_rejected_only_by_a_larger_crop(make_face):
    assert rejected(make_face(0, 45, 55), crop_size=46) == "too_small"
    assert preprocess(make_face(0, 45, 55), crop_size=45).shape == (16, 16, 3)


@pytest.mark.parametrize("data", [b"", b"x", b"<html></html>", b"\xff\xd8\xff\xe0"])
def test_no_image_at_all_is_rejected(data):
    assert rejected(data) == "unreadable"


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_a_truncated_image_is_rejected(make_face, encode, image_format):
    data = encode(np.asarray(Image.effect_noise((64, 64), 90)), image_format, "RGB")
    assert rejected(data[: len(data) // 2]) == "truncated"


def test_a_decompression_bomb_is_rejected_by_its_header():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rejected(bomb(10_000, 10_000)) == "oversized"
        assert rejected(bomb(60_000, 60_000)) == "oversized"


def test_a_bomb_in_jpeg_is_rejected_by_its_header(make_face):
    data = make_face(0)
    at = data.index(b"\xff\xc0")
    huge = data[: at + 5] + struct.pack(">HH", 60_000, 60_000) + data[at + 9 :]
    assert rejected(huge) == "oversized"


@pytest.mark.parametrize("image_format", squares.FORMATS)
def test_a_sound_image_has_at_most_the_allowed_pixels(
    encode, monkeypatch, image_format
):
    data = encode(np.zeros((20, 30, 3), np.uint8), image_format)
    monkeypatch.setattr(contract, "MAX_IMAGE_PIXELS", 600)
    assert squares.decode(data).shape == (20, 30, 3)
    monkeypatch.setattr(contract, "MAX_IMAGE_PIXELS", 599)
    assert rejected(data) == "oversized"


def test_damaged_images_raise_nothing_else(make_face, encode):
    rng = np.random.default_rng(0)
    reasons = []
    for image_format in ("JPEG", "PNG", "WEBP", "BMP"):
        sound = encode(rng.integers(0, 256, (24, 20, 3), dtype=np.uint8), image_format)
        for _ in range(150):
            data = bytearray(sound)
            for position in rng.integers(0, min(len(data), 400), 3):
                data[position] = rng.integers(256)
            try:
                assert preprocess(bytes(data)).shape == (16, 16, 3)
            except squares.RejectedImageError as error:
                reasons.append(error.reason)
    assert len(reasons) > 50
    assert set(reasons) <= set(squares.REASONS)


def test_both_decoders_agree_on_photographs(real_celeba_dir):
    listing = sources.list_images("celeba", real_celeba_dir)
    split = listing.by_split()["test"]
    for key, location in zip(split.keys, split.locations, strict=True):
        data = listing.reader.read(key, location)
        np.testing.assert_array_equal(
            squares.decode(data), squares.decode_with_pillow(data), err_msg=key
        )


def test_the_quick_decoder_accepts_nothing_that_pillow_refuses(make_face):
    rng = np.random.default_rng(0)
    sound = make_face(0)
    for _ in range(1000):
        data = bytearray(sound)
        data[rng.integers(2, len(data))] = rng.integers(256)
        try:
            pixels = squares.decode(bytes(data))
        except squares.RejectedImageError:
            continue
        np.testing.assert_array_equal(pixels, squares.decode_with_pillow(bytes(data)))
