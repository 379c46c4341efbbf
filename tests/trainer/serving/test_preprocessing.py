"""A served model preprocesses images as `pipeline.prepare` did for its dataset."""

import os
import pathlib
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from pipeline import contract
from pipeline.images import filters, resizing, squares
from trainer.serving import jpeg, preprocessing
from trainer.serving import resizing as graph_resizing

# Height, width, size of the result, crop, channels.
SHAPES = [
    (21, 30, 16, 0, 3),
    (218, 178, 64, 148, 3),
    (37, 91, 24, 31, 1),
    # Odd margins: 5 and 11 pixels.
    (25, 31, 8, 20, 1),
    (16, 16, 16, 0, 3),
    (5, 7, 32, 0, 3),
    (1, 1, 8, 0, 1),
    (333, 501, 47, 0, 3),
]
RNG = np.random.default_rng(0)


def in_graph(**settings) -> tf.types.experimental.GenericFunction:
    function = preprocessing.Preprocessing(**settings)
    spec = tf.TensorSpec([None, None, None, function.channels], tf.uint8)
    return tf.function(function, input_signature=[spec])


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def decode(data: tf.Tensor) -> tf.Tensor:
    return jpeg.decode_upright(data, 3)


def as_read(stored: np.ndarray) -> np.ndarray:
    """Returns the values that the trainer reads from a stored image."""
    factor, offset = contract.IMAGE_DTYPES[stored.dtype.name]
    values = stored.astype(np.float32)
    return values * np.float32(factor) + np.float32(offset)


@pytest.mark.slow
@pytest.mark.parametrize("image_dtype", contract.IMAGE_DTYPES)
@pytest.mark.parametrize("resize", resizing.RESIZES)
def test_images_of_any_size_are_those_of_prepare(resize: str, image_dtype: str) -> None:
    for height, width, size, crop_size, channels in SHAPES:
        settings = {
            "image_size": size,
            "image_dtype": image_dtype,
            "resize": resize,
            "crop_size": crop_size,
        }
        shape = (2, height, width, channels)
        pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
        expected = [as_read(squares.preprocess(image, **settings)) for image in pixels]
        actual = in_graph(channels=channels, **settings)(pixels)
        assert actual.shape == (2, size, size, channels)
        # Pillow's filters use integers; the legacy filter may round differently.
        legacy = resize == resizing.LEGACY_BILINEAR
        np.testing.assert_allclose(actual, expected, rtol=0, atol=5e-4 * legacy)


@pytest.mark.parametrize("num_floats", [1, 50, 1000])
def test_large_images_are_resized_in_blocks_to_the_same(
    num_floats: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"crop_size": 0, "resize": "lanczos", "image_dtype": "uint8"}
    pixels = RNG.integers(0, 256, (2, 21, 30, 3), dtype=np.uint8)
    expected = in_graph(channels=3, image_size=8, **settings)(pixels)
    monkeypatch.setattr(graph_resizing, "_MAX_FLOATS", num_floats)
    actual = in_graph(channels=3, image_size=8, **settings)(pixels)
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.slow
@pytest.mark.parametrize("resize", resizing.RESIZES)
def test_photographs_are_those_of_prepare(resize: str) -> None:
    data = os.environ.get("VAELINE_TEST_DATA")
    if not data:
        pytest.skip("needs VAELINE_TEST_DATA, a directory with celeba_layout/")
    settings = {"image_size": 64, "crop_size": 0, "resize": resize}
    preprocess = in_graph(channels=3, image_dtype="float16", **settings)
    path = pathlib.Path(data) / "celeba_layout/img_align_celeba.zip"
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
        for name in names[::100]:
            content = archive.read(name)
            decoded = decode(content)
            stored = squares.preprocess(content, image_dtype="float16", **settings)
            difference = np.abs(preprocess(decoded[None])[0] - as_read(stored)).max()
            assert difference * 127.5 < 0.1


@pytest.mark.parametrize("name", filters.FILTERS)
def test_weights_are_those_of_prepare_for_every_size(name: str) -> None:
    # Run in a graph, because the graph's optimizer may change how a number is rounded.
    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
    def weights_of(num_in: tf.Tensor) -> tf.Tensor:
        return graph_resizing.filter_weights(num_in, 24, name)

    for num_in in (*range(1, 100), 178, 1001):
        starts, weights = filters.filter_weights(num_in, 24, name)
        expected = np.zeros([24, num_in])
        for row, start in enumerate(starts):
            expected[row, start : start + weights.shape[1]] = weights[row]
        np.testing.assert_array_equal(weights_of(num_in), expected)


def test_an_image_smaller_than_the_crop_is_refused() -> None:
    preprocess = in_graph(
        image_size=8, channels=1, crop_size=20, resize="area", image_dtype="uint8"
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="crop of 20 pixels"):
        preprocess(np.zeros([1, 30, 19, 1], np.uint8))
    assert preprocess(np.zeros([1, 30, 20, 1], np.uint8)).shape == (1, 8, 8, 1)


def test_levels_come_back_through_every_storage_type() -> None:
    levels = np.arange(256, dtype=np.uint8)
    for image_dtype in contract.IMAGE_DTYPES:
        scaled = preprocessing.scale(tf.constant(levels), image_dtype)
        np.testing.assert_array_equal(preprocessing.to_levels(scaled), levels)


def test_the_manifest_says_what_is_done() -> None:
    features = {
        "key": contract.Feature("string"),
        "image": contract.Feature("uint8", (28, 28, 1)),
    }
    settings = {"crop_size": 5, "resize": "area", "preprocess": "mine:cut"}

    def of(**changes) -> preprocessing.Preprocessing:
        changed = {**settings, **changes}
        return preprocessing.of_dataset(
            contract.Manifest("d", changed, "ab", features, {})
        )

    assert of() == preprocessing.Preprocessing(28, 1, 5, "area", "uint8", "mine:cut")
    with pytest.raises(
        ValueError, match="made with `resize=nearest`, but this release"
    ):
        of(resize="nearest")
    del settings["crop_size"]
    with pytest.raises(ValueError, match="lacks the setting 'crop_size'"):
        of()
