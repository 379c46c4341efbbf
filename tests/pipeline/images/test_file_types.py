import io

import numpy as np
import pytest
from PIL import Image

from pipeline.images import file_types, rgb, squares

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12345\n"
CONVERT = ", which cannot be read: convert it to JPEG or PNG"


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"", "an empty file"),
        (LFS, "a Git LFS pointer in place of an image: get the file with git lfs pull"),
        (
            b"/annex/objects/SHA256E-s9--ab.jpg\n",
            "a git-annex pointer in place of an image: get the file with git annex get",
        ),
        (
            b"\n<!DOCTYPE html><title>404</title>",
            "an HTML page in place of an image: download the image again",
        ),
        (
            b"<html></html>",
            "an HTML page in place of an image: download the image again",
        ),
        (b"\0\0\0\x18ftypheic" + bytes(99), f"HEIC{CONVERT}"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(99), f"HEIC{CONVERT}"),
        (b"\0\0\0\x0cjP  \r\n" + bytes(99), f"JPEG 2000{CONVERT}"),
        (b"8BPS\0\1" + bytes(99), f"PSD{CONVERT}"),
        (b"PF\n13 9\n-1.0\n" + bytes(99), f"PFM{CONVERT}"),
        (b"PK\x03\x04" + bytes(99), "a zip in place of an image: unpack it"),
        (
            b"\0\0\0\x14ftypqt  " + bytes(99),
            "a video in place of an image: take a frame of it",
        ),
    ],
)
@pytest.mark.parametrize("decode", [rgb.decode_as_rgb, squares.decode])
def test_another_file_in_place_of_an_image_is_named(decode, data, detail):
    with pytest.raises(squares.RejectedImageError) as error:
        decode(data)
    assert (error.value.reason, error.value.detail) == ("unreadable", detail)


@pytest.mark.parametrize("image_format", rgb.FORMATS)
def test_no_image_is_named_as_another_file(image_format):
    file = io.BytesIO()
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(file, image_format)
    assert file_types.describe(file.getvalue()) == ""
    assert rgb.decode_as_rgb(file.getvalue()).shape == (9, 9, 3)
