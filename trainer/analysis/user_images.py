"""Conversion of a user's images to examples that a model takes.

n  images     h, w  their height and width     s  image size of the run     c  channels
"""

import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pipeline import contract
from pipeline.images import rgb, squares
from pipeline.process import wording
from trainer.analysis import user_conditions
from trainer.analysis.examples import Examples
from trainer.data.corruption import fixed_binarization
from trainer.runs.trained import TrainedRun

Path = str | os.PathLike[str]
# The same types, for isinstance.
PATHS = (str, os.PathLike)

_BATCH_SIZE = 200


class UserImages:
    """Preprocesses images in the same way as `pipeline.prepare` did for a dataset."""

    def __init__(self, manifest: contract.Manifest, preprocess: str | None) -> None:
        """Keeps the preprocessing settings of a dataset.

        Args:
            manifest: Manifest of the dataset.
            preprocess: Name of the user's function, as in the manifest; None to allow
                no function.

        Raises:
            ValueError: If `preprocess` differs from the function in the manifest.
        """
        self._shape = manifest.image_shape
        self._function = manifest.settings.get("preprocess")
        if preprocess is not None and preprocess != self._function:
            raise ValueError(
                f"preprocess={preprocess!r} differs from the function that made the "
                f"images of the dataset, {self._function!r}"
            )
        self._is_allowed = preprocess == self._function
        self._settings = {
            "image_size": self._shape[0],
            "image_dtype": manifest.image_dtype,
            "resize": manifest.settings["resize"],
            "crop_size": manifest.settings["crop_size"],
            "function": self._function,
        }

    def batches(self, images: Any) -> Iterator[np.ndarray]:
        """Yields `[b, s, s, c]` float32 images in [-1, 1].

        Args:
            images: As in `Run.encode`.

        Raises:
            ValueError: If an image cannot be read or has another form.
        """
        pending: list[np.ndarray] = []
        for place, image in enumerate(_each(images)):
            pending.append(self._prepared(image, place))
            if len(pending) == _BATCH_SIZE:
                yield np.stack(pending)
                pending = []
        if pending:
            yield np.stack(pending)

    def examples(
        self, run: TrainedRun, images: Any, condition: dict[str, npt.ArrayLike]
    ) -> Iterator[Examples]:
        """Yields images as examples, up to 200 at a time; a key is an image's place.

        Args:
            run: Trained run, for its conditions and its kind of binarization.
            images: As in `Run.encode`.
            condition: As in `user_conditions.vectors`, one value or one for each image.

        Raises:
            ValueError: If no image is given, an image cannot be read or has another
                form, or the model does not take the condition.
        """
        conditions, first = None, 0
        for batch in self.batches(images):
            if conditions is None:
                conditions = user_conditions.vectors(run, condition)
            part = user_conditions.repeated(conditions, first, len(batch))
            if len(part) < len(batch):
                user_conditions.check_num(conditions, first + len(batch))
            inputs = fixed_binarization(
                tf.constant(batch), run.config.binarize, run.config.seed
            ).numpy()
            keys = np.arange(first, first + len(batch)).astype(str)
            yield Examples(keys, inputs, inputs, part)
            first += len(batch)
        if not first:
            raise ValueError("images is empty: give at least one image")
        user_conditions.check_num(conditions, first)

    def _prepared(self, image: Path | np.ndarray, place: int) -> np.ndarray:
        """Returns an image as the input pipeline yields it, `[s, s, c]` float32."""
        channels = self._shape[2]
        name = os.fspath(image) if isinstance(image, PATHS) else f"image {place}"
        try:
            if isinstance(image, PATHS):
                data = pathlib.Path(image).expanduser().read_bytes()
                decode = rgb.decode_as_rgb if channels == 3 else rgb.decode_as_grey
                image = decode(data)
            if np.issubdtype(image.dtype, np.floating):
                return self._checked(image)
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != channels:
                raise ValueError(
                    f"{name} is {image.dtype} {list(image.shape)}: it must be uint8 "
                    f"[height, width, {channels}], or floats in [-1, 1] of "
                    f"{list(self._shape)}"
                )
            # The function may be any code, so the user must allow it by name.
            if not self._is_allowed:
                raise ValueError(
                    f"the images of the dataset were made with the function "
                    f"{self._function!r}: allow it by preprocess={self._function!r}"
                )
            stored = squares.preprocess(image, **self._settings)
        except squares.RejectedImageError as error:
            raise ValueError(f"{name}: {error.reason} ({error.detail})") from error
        except OSError as error:
            raise ValueError(
                f"cannot read the image {name}: {wording.cause(error)}"
            ) from error
        if stored.dtype == np.uint8:
            scale, offset = contract.IMAGE_DTYPES["uint8"]
            return (stored * scale + offset).astype(np.float32)
        return stored.astype(np.float32)

    def _checked(self, image: np.ndarray) -> np.ndarray:
        if image.shape != self._shape or not (np.abs(image) <= 1).all():
            raise ValueError(
                f"an image of floats must have the shape {list(self._shape)} and "
                f"values in [-1, 1], but this image has the shape {list(image.shape)} "
                f"and values from {image.min():.4g} to {image.max():.4g}: give uint8 "
                "pixels for images of other sizes"
            )
        return image.astype(np.float32)


def _each(images: Any) -> Iterator[Path | np.ndarray]:
    """Yields the images from any form that `Run.encode` takes."""
    if isinstance(images, PATHS):
        raise ValueError(f"{images!r} is one path: give a list of paths")
    if isinstance(images, tf.data.Dataset):
        for element in images.as_numpy_iterator():
            yield from _of_element(element)
    elif isinstance(images, Sequence) and all(isinstance(x, PATHS) for x in images):
        yield from images
    elif isinstance(images, Iterable) and not hasattr(images, "__array__"):
        yield from (np.asarray(image) for image in images)
    else:
        array = np.asarray(images)
        if array.ndim != 4:
            raise ValueError(
                "images must have the shape [n, height, width, channels], not "
                f"{list(array.shape)}"
            )
        yield from array


def _of_element(element: Any) -> Iterator[np.ndarray]:
    if isinstance(element, dict):
        if "image" not in element:
            raise ValueError(
                f"an element of the tf.data.Dataset has {', '.join(element)}, but no "
                "'image'"
            )
        element = element["image"]
    elif isinstance(element, tuple):
        element = element[0]
    array = np.asarray(element)
    yield from array if array.ndim == 4 else [array]
