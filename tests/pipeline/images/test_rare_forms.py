"""Rare bit depths, transparency and photometric tags: decoded right, or refused."""

import itertools
import struct

import numpy as np
import pytest
from PIL import Image

from pipeline.images import rgb, squares
from tests import image_forms
from tests.image_forms import grey, over_white, png, tiff, to_8_bits, values

ORDERS = ("<", ">")


def rejected(data: bytes) -> tuple[str, str]:
    with pytest.raises(squares.RejectedImageError) as error:
        rgb.decode_as_rgb(data)
    return error.value.reason, error.value.detail


def check(data: bytes, expected: np.ndarray, levels: int = 0) -> None:
    actual = rgb.decode_as_rgb(data)
    np.testing.assert_allclose(actual.astype(int), expected, rtol=0, atol=levels)


@pytest.mark.parametrize("is_deflated", [False, True])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
def test_grey_of_a_tiff(
    bits: int, photometric: int, order: str, is_deflated: bool
) -> None:
    numbers = values(bits)
    data = tiff(numbers, bits, photometric, order=order, is_deflated=is_deflated)
    # Pillow opens no other combination of bit depth, byte order and photometric tag.
    is_read = bits <= 8 or order == "<" or (bits == 16 and photometric == 1)
    if not is_read or (bits == 12 and photometric == 0):
        reason, detail = rejected(data)
        assert reason == "unreadable"
        assert f"interpretation {photometric}, bits per sample {bits}" in detail
        return
    levels = to_8_bits(numbers, bits)
    check(data, grey(levels if photometric else 255 - levels))


@pytest.mark.parametrize("is_deflated", [False, True])
@pytest.mark.parametrize("is_planar", [False, True])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("bits", [8, 16])
def test_colours_of_a_tiff(
    bits: int, order: str, is_planar: bool, is_deflated: bool
) -> None:
    how = {"order": order, "is_planar": is_planar, "is_deflated": is_deflated}
    numbers = values(bits, 4)
    levels = to_8_bits(numbers, bits)
    colours, opacity = levels[..., :3], numbers[..., 3:] / (2**bits - 1)
    inks = Image.fromarray(levels.astype(np.uint8), "CMYK")
    # Pillow cuts colours and opacity of 16 bits to 8 bits.
    cut = 2 if bits == 16 else 0
    files = [
        (tiff(numbers[..., :3], bits, 2, **how), colours, cut),
        (tiff(numbers, bits, 2, extra=[2], **how), over_white(colours, opacity), cut),
        (tiff(numbers, bits, 5, **how), np.asarray(inks.convert("RGB")), cut),
    ]
    for data, expected, levels_off in files:
        if bits == 16 and is_planar and not is_deflated:
            reason, detail = rejected(data)
            assert reason == "mode"
            assert detail.endswith(", 16 bits, in separate planes")
        else:
            check(data, expected, levels_off)


def test_premultiplied_alpha_of_a_tiff() -> None:
    numbers = values(8, 4)
    numbers[..., :3] = np.minimum(numbers[..., :3], numbers[..., 3:])
    expected = numbers[..., :3] + 255 - numbers[..., 3:]
    check(tiff(numbers, 8, 2, extra=[1]), expected, levels=1)
    check(tiff(numbers, 8, 2, extra=[0]), numbers[..., :3])


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("is_deflated", [False, True])
def test_a_palette_of_a_tiff(bits: int, is_deflated: bool) -> None:
    palette = np.random.default_rng(1).integers(256, 65_536, (3, 2**bits))
    numbers = values(bits)
    expected = (palette // 256)[:, numbers[..., 0]].transpose(1, 2, 0)

    def with_palette(entries: np.ndarray) -> bytes:
        tags = {320: entries.ravel().tolist()}
        return tiff(numbers, bits, 3, is_deflated=is_deflated, tags=tags)

    check(with_palette(palette), expected)
    check(with_palette(palette * 0), 0 * expected)
    detail = "TIFF whose palette has 8-bit values instead of 16-bit ones"
    assert rejected(with_palette(palette // 256)) == ("mode", detail)


LA_PLANES = tiff(values(8, 2), 8, 1, extra=[2], is_planar=True, is_deflated=True)
REFUSED = {
    "8 signed bits": (tiff(values(7), 8, 1, sample_format=2), "signed 8-bit integers"),
    "16 signed bits": (
        tiff(values(15), 16, 1, sample_format=2),
        "signed 16-bit integers",
    ),
    "YCbCr": (tiff(values(8, 3), 8, 6), "YCbCr without compression"),
    "Lab": (tiff(values(8, 3), 8, 8), "LAB cannot be converted"),
    "ICC Lab": (tiff(values(8, 3), 8, 9), "photometric interpretation 9"),
    "planes of grey and alpha": (LA_PLANES, "LA, 8 bits, in separate planes"),
    "inks": (tiff(values(8, 4), 8, 5, tags={332: [2]}), "inks other than CMYK"),
    "32 bits": (tiff(values(32), 32, 1), "I with values from"),
    "floats": (tiff(values(8) / 255, 32, 1, sample_format=3), "F cannot be"),
    "doubles": (tiff(values(8) / 255, 64, 1, sample_format=3), "sample format 3"),
    "halves": (tiff(values(8) / 255, 16, 1, sample_format=3), "sample format 3"),
    "PNG": (
        png(values(16, 3), 16, 2, (b"tRNS", struct.pack(">3H", 1, 2, 3))),
        "16-bit PNG with a transparent colour",
    ),
    "BMP": (
        image_forms.bmp16(values(5, 3), 1 << 15),
        "16-bit BMP with transparency",
    ),
    "GIF": (
        image_forms.gif_within(values(8), 3),
        "GIF whose first frame does not cover its background",
    ),
    "CMYK": (
        image_forms.without_adobe(
            image_forms.encoded(Image.new("CMYK", (8, 8), "red"), "JPEG")
        ),
        "CMYK JPEG without the Adobe marker, so 0 may mean",
    ),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_would_be_shown_wrong_is_refused_by_name(name: str) -> None:
    data, expected = REFUSED[name]
    reason, detail = rejected(data)
    assert expected in detail
    assert reason == ("unreadable" if "it is a TIFF of" in detail else "mode")


def test_what_is_like_the_refused_is_taken() -> None:
    numbers = values(5, 3)
    check(image_forms.bmp16(numbers, 0), to_8_bits(numbers, 5), levels=1)
    levels = np.clip(values(8), 1, 255)
    for options in ({"background": 0}, {"background": 3, "transparency": 0}):
        actual = rgb.decode_as_rgb(image_forms.gif_within(levels, **options))
        np.testing.assert_array_equal(actual[4:13, 5:18], grey(levels))
    assert actual[0, 0].tolist() == [255, 255, 255]
    inks = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    check(image_forms.encoded(inks, "JPEG"), np.full((8, 8, 3), (255, 0, 0)), levels=3)
    with_alpha = tiff(values(8, 2), 8, 1, extra=[2])
    assert rgb.decode_as_rgb(with_alpha).shape == (9, 13, 3)


@pytest.mark.parametrize("is_interlaced", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_of_a_png(bits: int, is_interlaced: bool) -> None:
    numbers = values(bits)
    expected = grey(to_8_bits(numbers, bits))
    check(png(numbers, bits, 0, is_interlaced=is_interlaced), expected)
    transparent = int(numbers[4, 5, 0])
    expected[numbers[..., 0] == transparent] = 255
    chunk = (b"tRNS", struct.pack(">H", transparent))
    check(png(numbers, bits, 0, chunk, is_interlaced=is_interlaced), expected)


@pytest.mark.parametrize(
    ("bits", "alpha"), [*itertools.product([8, 16], [False, True])]
)
def test_colours_of_a_png(bits: int, alpha: bool) -> None:
    numbers = values(bits, 4)
    levels = to_8_bits(numbers, bits)
    opacity = numbers[..., 3:] / (2**bits - 1)
    cut = 2 if bits == 16 else 0
    if alpha:
        expected = over_white(levels[..., :3], opacity)
        check(png(numbers, bits, 6), expected, cut)
        expected = over_white(grey(levels[..., :1]), opacity)
        check(png(numbers[..., [0, 3]], bits, 4), expected, cut)
    else:
        check(png(numbers[..., :3], bits, 2), levels[..., :3], cut)


@pytest.mark.parametrize("white", [1, 3, 100, 255, 256, 1000, 65_535])
def test_any_white_of_a_ppm(white: int) -> None:
    numbers = np.random.default_rng(0).integers(0, white + 1, (9, 13, 3))
    expected = (numbers * 510 + white) // (2 * white)
    kind = ">u2" if white > 255 else "u1"
    size = b"13 9 %d\n" % white
    text = b" ".join(b"%d" % number for number in numbers.ravel())
    check(b"P6 " + size + numbers.astype(kind).tobytes(), expected, levels=1)
    check(b"P3 " + size + text, expected, levels=1)
    one = numbers[..., :1]
    check(b"P5 " + size + one.astype(kind).tobytes(), grey(expected[..., :1]), levels=1)


def test_transparency_is_no_plain_rgb() -> None:
    data = png(values(8, 3), 8, 2, (b"tRNS", struct.pack(">3H", 1, 2, 3)))
    with pytest.raises(
        squares.RejectedImageError, match="RGB with transparency instead"
    ):
        squares.decode(data)
    data = png(values(8), 8, 0, (b"tRNS", b"\0\1"))
    with pytest.raises(squares.RejectedImageError, match="L with transparency instead"):
        squares.decode_with_pillow(data, mode="L")


def test_a_damaged_file_is_named() -> None:
    reason, detail = rejected(b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(99))
    assert reason == "unreadable"
    assert detail.endswith("; it begins like a damaged or 12-bit JPEG")
    assert rejected(b"text")[1].endswith("AVIF image in 4 bytes")
    # The header of this TIFF cannot be read either.
    assert rejected(b"II*\0\xff\xff\xff\xff")[0] in ("unreadable", "truncated")
