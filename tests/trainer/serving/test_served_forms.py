"""A served model computes the pixels of `pipeline.prepare`, or names a refused file."""

import io
import itertools
import struct
import time
import zlib
from typing import Any

import numpy as np
import pytest
import simplejpeg
import tensorflow as tf
from PIL import ExifTags, Image

from configs import celeba_debug
from pipeline import contract
from pipeline.images import rgb, squares
from pipeline.latents import encoder
from tests import damaged_jpegs
from tests.image_forms import PNG_START, encoded, png, values
from tests.trainer.decoders import decode, decode_grey
from trainer.models.vae import make_vae
from trainer.runs import trained
from trainer.serving import jpeg, saved_model

PICTURE = damaged_jpegs.picture(width=91, height=67)
PIXELS = np.asarray(PICTURE)


def exif(orientation: Any = 6) -> Image.Exif:
    made = Image.Exif()
    made[ExifTags.Base.Orientation] = orientation
    return made


def raw_exif(kind: int, value: bytes, count: int = 1) -> bytes:
    """Returns EXIF with one entry: the orientation, with the given type and bytes."""
    entry = struct.pack("<HHI", 0x0112, kind, count) + value.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)


def xmp(orientation: int) -> bytes:
    return b'<rdf:Description tiff:Orientation="%d"/>' % orientation


def colours(*chunks: tuple[bytes, bytes], **options: Any) -> bytes:
    """Returns an 8-bit RGB PNG with further chunks before its pixels."""
    return png(values(8, 3), 8, 2, *chunks, **options)


def png_forms() -> dict[str, bytes]:
    forms = {}
    kinds = {0: (1, 2, 4, 8), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
    for colour, bits_of_it in kinds.items():
        for bits, is_interlaced in itertools.product(bits_of_it, (False, True)):
            numbers = values(bits, channels[colour])
            name = f"PNG, colour {colour}, {bits} bits{', interlaced' * is_interlaced}"
            palette = np.random.default_rng(2).integers(0, 256, (2**bits, 3))
            before = [(b"PLTE", palette.astype(np.uint8).tobytes())] * (colour == 3)
            forms[name] = png(
                numbers, bits, colour, *before, is_interlaced=is_interlaced
            )
            one = tuple(map(int, numbers[4, 5]))
            alpha = {0: struct.pack(">H", one[0]), 3: b"\x80\0"}.get(colour)
            if colour == 2 and bits == 8:
                alpha = struct.pack(">3H", *one)
            if alpha:
                before.append((b"tRNS", alpha))
                forms[f"{name}, transparent"] = png(
                    numbers, bits, colour, *before, is_interlaced=is_interlaced
                )
    return forms


def served_forms() -> dict[str, bytes]:
    forms = png_forms()
    for sampling in ("444", "422", "420", "440", "411"):
        forms[f"JPEG, {sampling}"] = simplejpeg.encode_jpeg(
            PIXELS, colorsubsampling=sampling
        )
    for orientation in range(1, 9):
        turned = exif(orientation)
        forms[f"JPEG, turned {orientation}"] = encoded(PICTURE, "JPEG", exif=turned)
        forms[f"PNG, turned {orientation}"] = encoded(PICTURE, "PNG", exif=turned)
    named = b"Exif\0\0" + exif(6).tobytes().removeprefix(b"Exif\0\0")
    forms["PNG, EXIF by name"] = colours((b"eXIf", named))
    twice = encoded(PICTURE, "JPEG", exif=b"Exif\0\0" + named)
    assert twice.count(b"Exif\0\0") == 2
    forms["JPEG, EXIF named twice"] = twice
    after = [(b"eXIf", exif(8).tobytes())]
    forms["PNG, EXIF behind the pixels"] = colours(after=after)
    for kind, value in ((3, b"\6\0"), (4, b"\6\0\0\0"), (3, b"\x09\0")):
        forms[f"PNG, orientation of type {kind}, {value}"] = colours(
            (b"eXIf", raw_exif(kind, value))
        )
    forms["JPEG, upright in XMP"] = encoded(PICTURE, "JPEG", xmp=xmp(1))
    forms["JPEG, EXIF before XMP"] = encoded(PICTURE, "JPEG", xmp=xmp(8), exif=exif(6))
    text = b"XML:com.adobe.xmp\0\0\0\0\0"
    forms["PNG, upright in XMP"] = colours((b"iTXt", text + xmp(1)))
    forms["PNG, EXIF before XMP"] = colours(
        (b"iTXt", text + xmp(8)), (b"eXIf", exif(6).tobytes())
    )
    forms["PNG, texts"] = colours(
        (b"tEXt", b"Software\0vi"), (b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 99))
    )
    forms["PNG, gamma and profile"] = colours(
        (b"gAMA", struct.pack(">I", 100_000)),
        (b"iCCP", b"x\0\0" + zlib.compress(b"x" * 99)),
        (b"sBIT", b"\5\5\5"),
        (b"bKGD", bytes(6)),
    )
    forms["PNG, bytes behind"] = colours() + b"more" * 9
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("lime", "blue")]
    first = Image.new("RGB", (8, 8), "red")
    for name, options in (("APNG", {}), ("APNG, default", {"default_image": True})):
        forms[name] = encoded(
            first, "PNG", save_all=True, append_images=frames, **options
        )
    forms["MPO"] = encoded(first, "MPO", save_all=True, append_images=frames)
    return forms


def with_frame(place: int, value: bytes) -> bytes:
    """Returns a JPEG with other bytes in its frame header."""
    data = bytearray(damaged_jpegs.encoded(PICTURE))
    at = data.index(b"\xff\xc0") + place
    data[at : at + len(value)] = value
    return bytes(data)


def refused_forms() -> dict[str, tuple[bytes, str]]:
    key = struct.pack(">3H", *values(8, 3)[4, 5])
    zipped = zlib.compress(xmp(6))
    text = b"XML:com.adobe.xmp\0"
    animated = {"save_all": True, "append_images": [Image.new("RGB", (91, 67))]}
    forms = {
        "nothing": (b"", "is empty"),
        "text": (b"not an image", "is not a known image file"),
        "JPEG, start": (b"\xff\xd8\xff", "damaged JPEG: its header has no size"),
        "PNG, start": (PNG_START, "damaged PNG: it does not begin with its header"),
        "JPEG, CMYK": (encoded(PICTURE.convert("CMYK"), "JPEG"), "JPEG in CMYK"),
        "JPEG, 12 bits": (with_frame(4, b"\x0c"), "JPEG with 12 bits per value"),
        "JPEG, 2 colours": (with_frame(9, b"\2"), "JPEG with 2 components"),
        "JPEG, arithmetic": (with_frame(1, b"\xc9"), "with arithmetic coding"),
        "JPEG, lossless": (with_frame(1, b"\xc3"), "is a lossless JPEG"),
        "JPEG, no rows": (with_frame(5, b"\0\0"), "has 91 x 0 pixels"),
        "JPEG, no columns": (with_frame(7, b"\0\0"), "has 0 x 67 pixels"),
        "JPEG, oversized": (
            with_frame(5, struct.pack(">HH", 13_300, 13_300)),
            "has 13300 x 13300 pixels, more than 89,478,485 in all",
        ),
        "JPEG, largest": (with_frame(5, b"\xff" * 4), "has 65535 x 65535 pixels"),
        "JPEG, one row too many": (
            with_frame(5, struct.pack(">HH", 9460, 9459)),
            "has 9459 x 9460 pixels, more than 89,478,485",
        ),
        "JPEG, XMP": (encoded(PICTURE, "JPEG", xmp=xmp(6)), "orientation only in XMP"),
        "PNG, 16-bit grey": (png(values(16), 16, 0), "is a 16-bit grey PNG"),
        "PNG, 16 bits, tRNS": (
            png(values(16, 3), 16, 2, (b"tRNS", key)),
            "a 16-bit PNG with a transparent colour",
        ),
        "PNG, tRNS late": (colours(after=[(b"tRNS", key)]), "misplaced tRNS"),
        "PNG, tRNS twice": (colours(*[(b"tRNS", key)] * 2), "misplaced tRNS"),
        "PNG, tRNS short": (colours((b"tRNS", b"\0")), "misplaced tRNS"),
        "PNG, tRNS first": (
            png(values(1), 1, 3, (b"tRNS", b"\0"), (b"PLTE", bytes(6))),
            "misplaced tRNS",
        ),
        "PNG, tRNS long": (
            png(values(1), 1, 3, (b"PLTE", bytes(6)), (b"tRNS", bytes(3))),
            "misplaced tRNS",
        ),
        "PNG, XMP": (
            colours((b"iTXt", text + b"\0\0\0\0" + xmp(6))),
            "orientation only in XMP",
        ),
        "PNG, zipped XMP": (
            colours((b"iTXt", text + b"\1\0\0\0" + zipped)),
            "EXIF or XMP in an unsupported text",
        ),
        "PNG, EXIF as text": (
            colours((b"zTXt", b"Raw profile type exif\0\0" + zipped)),
            "EXIF or XMP in an unsupported text",
        ),
        "PNG, orientations": (
            colours((b"eXIf", raw_exif(3, b"\6\0\6\0", count=2))),
            "unusual EXIF orientation",
        ),
        "PNG, orientation in a byte": (
            colours((b"eXIf", raw_exif(1, b"\6"))),
            "unusual EXIF orientation",
        ),
        "PNG, fraction": (
            colours((b"eXIf", raw_exif(5, b"\x1a\0\0\0") + b"\6\0\0\0\1\0\0\0")),
            "unusual EXIF orientation",
        ),
        "PNG, oversized": (
            colours(size=(60_000, 60_000)),
            "60000 x 60000 pixels, more",
        ),
        "PNG, no rows": (colours(size=(0, 9)), "has 9 x 0 pixels"),
        "PNG, widest": (
            colours(size=(1, 2**32 - 1)),
            "has 4294967295 x 1 pixels, more",
        ),
        "PNG, largest": (
            colours(size=(2**32 - 1, 2**32 - 1)),
            "has 4294967295 x 4294967295 pixels, more",
        ),
        "GIF": (encoded(PICTURE, "GIF"), "is a GIF file"),
        "GIF, animated": (encoded(PICTURE, "GIF", **animated), "is a GIF file"),
        "WebP": (encoded(PICTURE, "WEBP"), "is a WebP file"),
        "WebP, animated": (encoded(PICTURE, "WEBP", **animated), "is a WebP file"),
        "BMP": (encoded(PICTURE, "BMP"), "is a BMP file"),
        "TIFF": (encoded(PICTURE, "TIFF"), "is a TIFF file"),
        "PPM": (encoded(PICTURE, "PPM"), "is a PPM file"),
        "AVIF": (encoded(PICTURE, "AVIF"), "is an AVIF or HEIC file"),
        "JPEG 2000": (encoded(PICTURE, "JPEG2000"), "is a JPEG 2000 file"),
        "ICO": (encoded(PICTURE, "ICO"), "is not a known image file"),
    }
    return forms


SERVED, REFUSED = served_forms(), refused_forms()


@pytest.fixture(scope="module")
def signatures(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns the signatures of an exported, untrained model of 32 px."""
    config = celeba_debug.get_config()
    features = {
        "key": contract.Feature("string"),
        "image": contract.Feature("float16", (32, 32, 3)),
    }
    settings = {"crop_size": 0, "resize": "bilinear", "image_size": 32}
    manifest = contract.Manifest("d", settings, "ab", features, {})
    vae = make_vae(config, (32, 32, 3), 0)
    output = tmp_path_factory.mktemp("model") / "1"
    saved_model.save(trained.TrainedRun(config, manifest, "", vae, 0), output)
    # `pipeline.encode` must accept all operations of the model.
    encoder._check_operations(str(output))
    model = tf.saved_model.load(str(output))
    yield model.signatures
    # Keep a reference to the model, because its signatures hold none.
    assert model is not None


@pytest.mark.parametrize("form", sorted(SERVED))
def test_pixels_are_those_of_prepare(form: str) -> None:
    expected = rgb.decode_as_rgb(SERVED[form])
    np.testing.assert_array_equal(decode(SERVED[form]), expected)


@pytest.mark.parametrize("form", sorted(REFUSED))
def test_what_differs_is_refused_by_name(form: str) -> None:
    data, message = REFUSED[form]
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        decode(data)
    assert message in error.value.message
    assert "send a PNG or an 8-bit JPEG, grey or in three" in error.value.message


@pytest.mark.slow
def test_an_exported_model_has_the_posteriors_of_prepare(signatures: Any) -> None:
    stored = [
        squares.preprocess(
            rgb.decode_as_rgb(data),
            image_size=32,
            image_dtype="float16",
            resize="bilinear",
            crop_size=0,
        )
        for data in SERVED.values()
    ]
    actual = signatures["encode_jpeg"](image_bytes=tf.constant([*SERVED.values()]))
    expected = signatures["encode_preprocessed"](
        image=tf.constant(np.stack(stored), tf.float32)
    )
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=0, atol=1e-5)
    # Different images have posteriors that are much further apart.
    assert np.abs(np.diff(expected["posterior_mean"], axis=0)).max() > 0.01


def test_one_refused_image_fails_its_batch_and_is_named(signatures: Any) -> None:
    sound = SERVED["JPEG, 420"]
    bomb, message = REFUSED["JPEG, oversized"]
    start = time.perf_counter()
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        signatures["encode_jpeg"](image_bytes=tf.constant([sound, sound, bomb]))
    # Decoding the oversized image would take half a minute.
    assert time.perf_counter() - start < 10
    assert f"image 2 of the batch {message}" in error.value.message
    actual = signatures["encode_jpeg"](image_bytes=tf.constant([sound, sound]))
    assert actual["posterior_mean"].shape[0] == 2


def test_the_largest_allowed_size_is_taken_by_its_header() -> None:
    for height, width in ((9459, 9459), (1, contract.MAX_IMAGE_PIXELS)):
        header = jpeg.png.read_header(tf.constant(colours(size=(height, width))))
        assert jpeg._size_fault(header) == b""
    header = header._replace(height=tf.constant(2, tf.int64))
    assert b"more than 89,478,485 in all" in jpeg._size_fault(header).numpy()


@pytest.mark.parametrize("form", ["RGBA", "LA", "RGB", "L", "P"])
def test_a_model_of_grey_images_takes_the_luma_of_a_png(form: str) -> None:
    image = PICTURE.convert(form)
    if "A" in form:
        image.putalpha(Image.fromarray(PIXELS[..., 2]))
    data = encoded(image, "PNG")
    expected = Image.fromarray(rgb.decode_as_rgb(data)).convert("L")
    np.testing.assert_array_equal(decode_grey(data)[..., 0], expected)


def test_damaged_png_files_raise_no_other_error() -> None:
    rng = np.random.default_rng(0)
    sound = colours((b"eXIf", exif(6).tobytes()), (b"tEXt", b"Software\0vi"))
    num_refused = 0
    for _ in range(150):
        data = bytearray(sound)
        for place in rng.integers(8, len(data), 2):
            data[place] = rng.integers(256)
        try:
            actual = decode(bytes(data[: rng.integers(8, 2 * len(data))]))
        except tf.errors.InvalidArgumentError:
            num_refused += 1
            continue
        assert actual.shape[2] == 3
    assert num_refused > 100


def test_every_other_form_that_prepare_reads_is_refused() -> None:
    for image_format in sorted(set(rgb.FORMATS) - {"JPEG", "PNG"}):
        buffer = io.BytesIO()
        PICTURE.save(buffer, image_format)
        assert rgb.decode_as_rgb(buffer.getvalue()).shape == PIXELS.shape
        with pytest.raises(tf.errors.InvalidArgumentError, match="the image is an? "):
            decode(buffer.getvalue())
