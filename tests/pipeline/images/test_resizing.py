import numba
import numpy as np
import pytest
from PIL import Image

from pipeline.images import filters, resize_loops, resizing

PILLOW = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}
PIXELS = np.arange(256, dtype=np.uint8)


def noise(side, channels=3):
    """Returns noise; half of it is black and white, where filters overshoot most."""
    image = np.random.default_rng(side).integers(0, 256, (side, side, channels))
    image[side // 2 :] = np.where(image[side // 2 :] < 128, 0, 255)
    return image.astype(np.uint8)


@pytest.mark.parametrize("filter_name", filters.FILTERS)
@pytest.mark.parametrize("side", [1, 2, 5, 108, 178, 300])
def test_every_pixel_is_pillows(side, filter_name):
    image = noise(side)
    for size in (1, 3, 28, 64, 128, side, 2 * side + 1):
        resized = resizing.resize_and_map(image, size, filter_name, PIXELS)
        expected = Image.fromarray(image).resize((size, size), PILLOW[filter_name])
        np.testing.assert_array_equal(resized, np.asarray(expected))


def test_grey_images_are_resized_as_pillow_does():
    image = noise(28, channels=1)
    resized = resizing.resize_and_map(image, 32, "bicubic", PIXELS)
    expected = Image.fromarray(image[..., 0]).resize((32, 32), PILLOW["bicubic"])
    np.testing.assert_array_equal(resized[..., 0], np.asarray(expected))


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_each_pixel_becomes_its_value(dtype):
    image = noise(40)
    values = np.random.default_rng(0).permutation(256).astype(dtype)
    pixels = resizing.resize_and_map(image, 17, "bilinear", PIXELS)
    mapped = resizing.resize_and_map(image, 17, "bilinear", values)
    assert mapped.dtype == dtype
    np.testing.assert_array_equal(mapped, values[pixels])


def test_a_view_is_resized_like_its_copy():
    view = noise(60)[5:45, 10:50]
    resized = resizing.resize_and_map(view, 16, "lanczos", PIXELS)
    expected = resizing.resize_and_map(view.copy(), 16, "lanczos", PIXELS)
    np.testing.assert_array_equal(resized, expected)


def test_it_works_where_compiled_code_cannot_be_cached(monkeypatch):
    compile_now = numba.njit

    def refuse_to_keep(function, *, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return compile_now(function, **options)

    monkeypatch.setattr(numba, "njit", refuse_to_keep)
    compiled = resize_loops.loops.__wrapped__(3, 3)
    starts, weights = filters.filter_weights(178, 128, "bilinear")
    image = noise(178)
    resized = np.empty((128, 128 * 3), np.uint8)
    compiled(image.reshape(178, -1), starts, weights, PIXELS, resized)
    expected = resizing.resize_and_map(image, 128, "bilinear", PIXELS)
    np.testing.assert_array_equal(resized, expected.reshape(128, -1))


def test_legacy_bilinear_by_hand():
    # Shrinking 3 pixels to 2 reads positions 0 and 1.5 along each axis. A pixel is the
    # sum of 0, 10 or 20 by column and 0, 100 or 200 by row.
    image = (np.arange(3) * 10 + np.arange(3)[:, None] * 100).astype(np.float32)
    resized = resizing.resize_legacy_bilinear(image[..., None], 2)[..., 0]
    np.testing.assert_array_equal(resized, [[0, 15], [150, 165]])
    # Enlarging repeats the last pixel instead of centring.
    image = np.array([[0, 1], [2, 3]], np.float32)[..., None]
    resized = resizing.resize_legacy_bilinear(image, 4)[..., 0]
    np.testing.assert_array_equal(resized[0], [0, 0.5, 1, 1])
    np.testing.assert_array_equal(resized[:, 0], [0, 1, 2, 2])


@pytest.mark.parametrize(("side", "size"), [(178, 128), (178, 64), (108, 64), (50, 77)])
def test_legacy_bilinear_is_tensorflow_1s(side, size):
    tf = pytest.importorskip("tensorflow")
    image = np.random.default_rng(0).uniform(-1, 1, (side, side, 3)).astype(np.float32)
    expected = tf.compat.v1.image.resize_bilinear(
        image[None], (size, size), align_corners=False, half_pixel_centers=False
    )[0].numpy()
    resized = resizing.resize_legacy_bilinear(image, size)
    np.testing.assert_allclose(resized, expected, atol=1e-6)
