"""Names the type of a file by its first bytes, if it is no image that can be read.

A file that ends in .jpg may hold something else: a pointer of Git LFS, a web page that
a server sent in place of the image, or a photograph in HEIC.
"""

import re

_HEAD_BYTES = 1024

_CONVERT = "{}, which cannot be read: convert it to JPEG or PNG"
_OTHER = "{} in place of an image: {}"
# (Description, offset, bytes) of file types.
_STARTS = (
    (
        _OTHER.format("a Git LFS pointer", "get the file with git lfs pull"),
        *(0, b"version https://git-lfs"),
    ),
    (
        _OTHER.format("a git-annex pointer", "get the file with git annex get"),
        *(0, b"/annex/objects/"),
    ),
    (_CONVERT.format("HEIC"), 4, b"ftyphei"),
    (_CONVERT.format("HEIC"), 4, b"ftyphev"),
    (_CONVERT.format("JPEG 2000"), 4, b"jP  "),
    (_CONVERT.format("JPEG 2000"), 0, b"\xff\x4f\xff\x51"),
    (_CONVERT.format("JPEG XL"), 0, b"\xff\x0a"),
    (_CONVERT.format("JPEG XL"), 4, b"JXL "),
    (_CONVERT.format("PSD"), 0, b"8BPS"),
    (_CONVERT.format("ICO"), 0, b"\0\0\1\0"),
    (_CONVERT.format("DDS"), 0, b"DDS "),
    (_CONVERT.format("PDF"), 0, b"%PDF"),
    (_CONVERT.format("PFM"), 0, b"PF\n"),
    (_CONVERT.format("PAM"), 0, b"P7\n"),
    (_CONVERT.format("SVG"), 0, b"<svg"),
    (_OTHER.format("a video", "take a frame of it"), 4, b"ftypqt"),
    (_OTHER.format("a video", "take a frame of it"), 4, b"ftypmp4"),
    (_OTHER.format("a video", "take a frame of it"), 4, b"ftypiso"),
    (_OTHER.format("a zip", "unpack it"), 0, b"PK\x03\x04"),
    (_OTHER.format("a gzip file", "unpack it"), 0, b"\x1f\x8b"),
    (_OTHER.format("XML", "give the image itself"), 0, b"<?xml"),
)
# HEIC and AVIF may share their first brand; the compatible brands tell them apart.
_SHARED_BRAND = b"ftypmif1"


def is_html(head: bytes) -> bool:
    """Returns whether a file that begins with `head` is a web page.

    Example:
        >>> is_html(b"<!DOCTYPE html><title>Quota exceeded</title>"), is_html(b"PK")
        (True, False)
    """
    return re.search(rb"<!doctype html|<html", head, re.IGNORECASE) is not None


def is_pointer(head: bytes) -> bool:
    """Returns whether a file that begins with `head` is a pointer of Git LFS.

    Example:
        >>> is_pointer(b"version https://git-lfs.github.com/spec/v1"), is_pointer(b"PK")
        (True, False)
    """
    return head.startswith(b"version https://git-lfs")


def describe(data: bytes) -> str:
    r"""Describes a file that is no readable image; returns "" for an unknown type.

    Args:
        data: Content of the file, or its beginning.

    Example:
        >>> describe(b"\0\0\0\x18ftypheic")
        'HEIC, which cannot be read: convert it to JPEG or PNG'
    """
    if not data:
        return "an empty file"
    head = data[:_HEAD_BYTES]
    for description, place, start in _STARTS:
        if head.startswith(start, place):
            return description
    if head.startswith(_SHARED_BRAND, 4) and b"heic" in head[12:64]:
        return _CONVERT.format("HEIC")
    if is_html(head):
        return _OTHER.format("an HTML page", "download the image again")
    return ""
