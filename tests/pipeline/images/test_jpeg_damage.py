import collections

import numpy as np
import pytest

from pipeline import sources
from pipeline.images import jpeg_damage, rgb, squares
from tests import damaged_jpegs

FORMS = damaged_jpegs.sound_forms()
# Sources with a fixed colour mode reject these forms because of their mode.
OTHER_MODES = ("grey", "progressive grey", "CMYK")


def reason(decode, data: bytes) -> str | None:
    try:
        decode(data)
    except squares.RejectedImageError as error:
        return error.reason
    return None


@pytest.mark.parametrize("form", FORMS)
def test_no_sound_form_is_damaged(form):
    data = FORMS[form]
    assert jpeg_damage.find_damage(data) is None
    assert reason(rgb.decode_as_rgb, data) is None
    assert reason(squares.decode, data) == ("mode" if form in OTHER_MODES else None)


@pytest.mark.parametrize("form", FORMS)
def test_the_pixels_are_pillows(form, monkeypatch):
    quick = rgb.decode_as_rgb(FORMS[form])
    monkeypatch.setattr(squares, "decode_sound_jpeg", lambda *_: None)
    np.testing.assert_array_equal(quick, rgb.decode_as_rgb(FORMS[form]))


def test_no_photograph_is_damaged(real_celeba_dir):
    listing = sources.list_images("celeba", real_celeba_dir)
    for split in listing.by_split().values():
        for key, location in zip(split.keys, split.locations, strict=True):
            data = listing.reader.read(key, location)
            assert jpeg_damage.find_damage(data) is None, key
            assert jpeg_damage.find_damage(data + bytes(9) + data) is None, key


@pytest.mark.parametrize("form", sorted(FORMS.keys() - {"a pixel", "one colour"}))
def test_a_scan_that_is_cut_is_truncated_whatever_ends_the_file(form):
    data = FORMS[form]
    cut = damaged_jpegs.cut_to_a_quarter(data)
    # The cut may hit the tables between the scans of a progressive JPEG.
    reasons = ["truncated", "unreadable"][: 1 + ("progressive" in form)]
    for ending in (b"", bytes(500), FORMS["plain"]):
        assert reason(rgb.decode_as_rgb, cut + ending) in reasons
        if form not in OTHER_MODES:
            assert reason(squares.decode, cut + ending) in reasons
    unended = data[: damaged_jpegs.scan_end(data)]
    assert reason(rgb.decode_as_rgb, unended) == "truncated"


@pytest.mark.parametrize(
    "form", ["plain", "progressive", "restarts", "grey", "CMYK", "turned"]
)
def test_most_changed_scans_are_rejected(form):
    counts = collections.Counter(
        reason(rgb.decode_as_rgb, damaged_jpegs.with_changed_bytes(FORMS[form], seed))
        for seed in range(40)
    )
    # A changed code may decode as another code of the same length. No check of lengths
    # notices that.
    assert counts[None] <= 20, counts
    assert set(counts) <= {None, "truncated", "unreadable"}


def test_a_grey_tfds_image_and_a_colour_one_are_judged_alike():
    for form in ("plain", "grey"):
        cut = damaged_jpegs.cut_to_a_quarter(FORMS[form])
        mode = "L" if form == "grey" else "RGB"
        with pytest.raises(squares.RejectedImageError, match="premature end"):
            squares.decode_with_pillow(cut, mode)


def test_a_warning_of_a_header_hides_no_damage():
    for form in ("bytes before a header", "a future revision"):
        assert jpeg_damage.find_damage(damaged_jpegs.cut_to_a_quarter(FORMS[form]))


@pytest.mark.parametrize("seed", range(20))
def test_no_bytes_are_too_odd(seed):
    rng = np.random.default_rng(seed)
    for form in ("plain", "progressive"):
        data = bytearray(FORMS[form])
        for place in rng.integers(2, 300, 5):
            data[place] = rng.choice([0, 255, 0xDA, 0xD0, 1])
        for end in (len(data), 150, 3, 1, 0):
            damage = jpeg_damage.find_damage(bytes(data[:end]))
            assert damage is None or damage.startswith(jpeg_damage._DAMAGE)
