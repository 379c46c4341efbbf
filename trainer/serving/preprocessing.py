"""Turns images of any size into images as in the records, with TensorFlow operations.

A graph that serves a model repeats the steps that `pipeline.prepare` applies to a
decoded image: crop, resize, scale.

n  images     c  channels     h, w  their height and width     s  image_size
"""

import dataclasses

import numpy as np
import tensorflow as tf

from pipeline import contract
from trainer.serving import resizing


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """The preprocessing of a dataset's images, according to its manifest.

    Attributes:
        image_size: Side of the result in pixels.
        channels: Number of channels, 1 or 3.
        crop_size: Side of the centre crop in pixels; 0 for the short side.
        resize: Name of the filter.
        image_dtype: Storage type of the values, one of `contract.IMAGE_DTYPES`; it
            decides how they are rounded.
        function: Name of the user's own function, called before the crop, or None. It
            is Python code, so a graph cannot hold it.
    """

    image_size: int
    channels: int
    crop_size: int
    resize: str
    image_dtype: str
    function: str | None = None

    def __post_init__(self) -> None:
        """Checks that the filter exists."""
        if self.resize not in (*resizing.FILTERS, resizing.LEGACY_BILINEAR):
            raise ValueError(
                f"the dataset was made with `resize={self.resize}`, but this release "
                f"exports only {', '.join(resizing.FILTERS)} and "
                f"{resizing.LEGACY_BILINEAR}: export with the release that prepared "
                "the dataset"
            )

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Returns images as a reader of the records gets them.

        Args:
            images: `[n, h, w, c]` uint8.

        Returns:
            `[n, s, s, c]` float32 in [-1, 1].

        Raises:
            tf.errors.InvalidArgumentError: If an image is smaller than the crop.

        Example:
            >>> halve = Preprocessing(2, 1, 0, "area", "float32")
            >>> ramp = np.array([[0, 0, 255, 255]] * 4, np.uint8)
            >>> halve(ramp[np.newaxis, ..., np.newaxis])[0, ..., 0].numpy().tolist()
            [[-1.0, 1.0], [-1.0, 1.0]]
        """
        squares = centre_crop(images, self.crop_size)
        if self.resize == resizing.LEGACY_BILINEAR:
            scaled = resizing.resize_legacy_bilinear(
                scale(squares, "float32"), self.image_size
            )
            images = _as_stored(scaled, self.image_dtype)
        else:
            levels = resizing.resize(squares, self.image_size, self.resize)
            images = scale(levels, self.image_dtype)
        return tf.ensure_shape(
            images, [None, self.image_size, self.image_size, self.channels]
        )


def of_dataset(manifest: contract.Manifest) -> Preprocessing:
    """Returns the preprocessing of a dataset's images.

    Raises:
        ValueError: If the manifest lacks a setting, or names an unknown filter.
    """
    settings = manifest.settings
    try:
        return Preprocessing(
            image_size=manifest.image_shape[0],
            channels=manifest.image_shape[2],
            crop_size=settings["crop_size"],
            resize=settings["resize"],
            image_dtype=manifest.image_dtype,
            function=settings.get("preprocess"),
        )
    except KeyError as error:
        raise ValueError(
            f"the manifest of the dataset lacks the setting {error}, which the "
            "preprocessing of images needs: prepare the dataset again, and train on "
            "the new dataset"
        ) from error


def centre_crop(images: tf.Tensor, crop_size: int) -> tf.Tensor:
    """Returns the square in the centre of each image.

    Args:
        images: `[n, h, w, c]`.
        crop_size: Side of the square in pixels; 0 for the short side. If the margin is
            odd, its larger part is at the right and the bottom.

    Returns:
        `[n, side, side, c]`.

    Raises:
        tf.errors.InvalidArgumentError: If the images are smaller than the square.
    """
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    short = tf.minimum(height, width)
    side = tf.constant(crop_size) if crop_size else short
    fits = tf.debugging.Assert(
        tf.logical_and(side <= short, short > 0),
        [
            f"an image is empty, or smaller than the crop of {crop_size} pixels; its "
            "height and width are",
            height,
            width,
        ],
    )
    with tf.control_dependencies([fits]):
        top, left = (height - side) // 2, (width - side) // 2
    return images[:, top : top + side, left : left + side]


def scale(levels: tf.Tensor, image_dtype: str) -> tf.Tensor:
    """Returns uint8 levels as float32 in [-1, 1], rounded to a storage type."""
    factor, offset = contract.IMAGE_DTYPES["uint8"]
    if image_dtype == "uint8":
        # In float32, as the trainer reads uint8 records.
        return tf.cast(levels, tf.float32) * factor + offset
    stored = (np.arange(256) * factor + offset).astype(image_dtype)
    return tf.gather(tf.constant(stored.astype(np.float32)), tf.cast(levels, tf.int32))


def to_levels(images: tf.Tensor) -> tf.Tensor:
    """Returns images in [-1, 1] as the nearest uint8 levels; other values are clipped.

    Example:
        >>> to_levels(tf.constant([-1.5, -1.0, 0.0, 1.0])).numpy().tolist()
        [0, 0, 128, 255]
    """
    return tf.cast(tf.round((tf.clip_by_value(images, -1, 1) + 1) * 127.5), tf.uint8)


def _as_stored(scaled: tf.Tensor, image_dtype: str) -> tf.Tensor:
    if image_dtype == "uint8":
        return scale(to_levels(scaled), image_dtype)
    return tf.cast(tf.cast(scaled, image_dtype), tf.float32)
