"""Compares how a served model and `pipeline.prepare` decode files."""

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from pipeline.images import rgb, squares
from tests import damaged_jpegs
from tests.trainer.decoders import decode, decode_grey
from trainer.serving import jpeg

SMOOTH = np.stack(np.meshgrid(np.arange(83) * 3, np.arange(61) * 4), -1)
PICTURES = {
    "smooth": np.concatenate([SMOOTH, SMOOTH[..., :1] * 2], -1).astype(np.uint8),
    "noise": np.random.default_rng(0).integers(0, 256, (61, 83, 3), dtype=np.uint8),
}


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def read_orientation(data: tf.Tensor) -> tf.Tensor:
    return jpeg.read_header(data).orientation


def encoded(pixels: np.ndarray, kind: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int, byte_order: str = "<") -> bytes:
    made = Image.Exif()
    made.endian = byte_order
    made[ExifTags.Base.Make] = "A camera"
    made[ExifTags.Base.Orientation] = orientation
    return made.tobytes()


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_pixels_are_those_of_prepare(
    picture: str, subsampling: str, progressive: bool
) -> None:
    for quality in (30, 75, 95):
        data = encoded(
            PICTURES[picture],
            quality=quality,
            subsampling=subsampling,
            progressive=progressive,
        )
        np.testing.assert_array_equal(decode(data), rgb.decode_as_rgb(data))


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(10))
def test_images_are_upright(orientation: int, byte_order: str) -> None:
    data = encoded(PICTURES["smooth"], exif=exif(orientation, byte_order))
    turned = decode(data)
    np.testing.assert_array_equal(turned, rgb.decode_as_rgb(data))
    assert (turned.shape == (83, 61, 3)) == (5 <= orientation <= 8)


def test_metadata_are_found_behind_other_segments() -> None:
    data = encoded(PICTURES["smooth"], exif=exif(6), comment=b"before" * 99)
    # Fill bytes, and a segment of XMP with the same marker as EXIF.
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x/>"
    segment = b"\xff\xff\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp
    data = data[:2] + segment + data[2:]
    assert read_orientation(data).numpy() == 6
    np.testing.assert_array_equal(decode(data), rgb.decode_as_rgb(data))


def test_grey_files_and_png() -> None:
    grey = PICTURES["smooth"][..., 0]
    data = encoded(grey)
    np.testing.assert_array_equal(decode(data), rgb.decode_as_rgb(data))
    one = decode_grey(data)
    np.testing.assert_array_equal(one[..., 0], rgb.decode_as_rgb(data)[..., 0])
    png = encoded(PICTURES["noise"], "PNG")
    np.testing.assert_array_equal(decode(png), PICTURES["noise"])


@given(cut=st.integers(0, 400), place=st.integers(2, 120), value=st.integers(0, 255))
def test_damaged_metadata_turn_nothing_and_raise_nothing(
    cut: int, place: int, value: int
) -> None:
    data = bytearray(encoded(PICTURES["smooth"][:8, :8], exif=exif(6)))
    data[place] = value
    assert 1 <= read_orientation(bytes(data[:cut])).numpy() <= 8


def test_what_is_no_image_is_refused() -> None:
    whole = encoded(PICTURES["noise"])
    for data in (b"", b"not an image", whole[: len(whole) // 2]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode(data)


FORMS = damaged_jpegs.sound_forms()
SCANS_IN_STEPS = ("progressive", "progressive grey", "turned, progressive")


def is_accepted(decoder, data: bytes) -> bool:
    try:
        decoder(data)
    except (tf.errors.InvalidArgumentError, squares.RejectedImageError):
        return False
    return True


@pytest.mark.parametrize("form", sorted(FORMS.keys() - {"CMYK"}))
def test_every_sound_form_is_accepted_as_by_prepare(form: str) -> None:
    expected = rgb.decode_as_rgb(FORMS[form])
    np.testing.assert_array_equal(decode(FORMS[form]), expected)


@pytest.mark.parametrize(
    "form",
    sorted(FORMS.keys() - {"one colour", "a pixel", "CMYK", *SCANS_IN_STEPS}),
)
def test_a_cut_scan_is_refused_as_by_prepare(form: str) -> None:
    data = FORMS[form]
    cut = damaged_jpegs.cut_to_a_quarter(data)
    for damaged in (cut, cut + bytes(99), cut + FORMS["plain"], cut[:-2]):
        assert not is_accepted(rgb.decode_as_rgb, damaged)
        assert not is_accepted(decode, damaged)
    assert is_accepted(decode_grey, data)
    assert not is_accepted(decode_grey, cut)


def test_a_cut_scan_behind_a_thumbnail_is_refused() -> None:
    thumbnail = b"\xff\xe1" + (2 + len(FORMS["one colour"])).to_bytes(2, "big")
    thumbnail += FORMS["one colour"]
    for form, is_sound in (("plain", False), ("one colour", True)):
        data = FORMS[form]
        data = data[:2] + thumbnail + data[2:]
        if not is_sound:
            data = damaged_jpegs.cut_to_a_quarter(data)
        assert is_accepted(decode, data) == is_sound


def test_a_grey_corner_is_no_damage() -> None:
    for kind in ("JPEG", "PNG"):
        pixels = PICTURES["smooth"].copy()
        pixels[-16:, -16:] = 128
        data = encoded(pixels, kind, **({"quality": 95} if kind == "JPEG" else {}))
        assert decode(data)[-1, -1].numpy().tolist() == [128] * 3
        np.testing.assert_array_equal(decode(data), rgb.decode_as_rgb(data))


def test_changed_bytes_of_a_scan_are_refused_by_prepare_alone() -> None:
    """A served model misses some damage, as docs/serving.md says."""
    changed = [damaged_jpegs.with_changed_bytes(FORMS["plain"], n) for n in range(40)]
    served = [is_accepted(decode, data) for data in changed]
    prepared = [is_accepted(rgb.decode_as_rgb, data) for data in changed]
    assert all(
        is_served >= is_prepared
        for is_served, is_prepared in zip(served, prepared, strict=True)
    )
    assert sum(prepared) < sum(served)
