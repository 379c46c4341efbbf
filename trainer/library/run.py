"""A trained run as an object: encode, decode, sample, reconstruct, interpolate.

Images go in as a user has them, and come out as uint8 pixels. Nothing here needs the
dataset that the run was trained on.

n  images     s  image size of the run     c  channels     d  latent_dim
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from ml_collections import ConfigDict

from pipeline import contract
from pipeline.images import rgb, squares
from trainer.analysis.examples import Examples
from trainer.data import corruption
from trainer.generation import sampling
from trainer.models import conditions, semi_supervised
from trainer.reporting import sample_grids
from trainer.runs import metrics_file, trained

_BATCH_SIZE = 200

Path = str | os.PathLike[str]
# The same, for isinstance.
_PATHS = (str, os.PathLike)


@dataclasses.dataclass(frozen=True)
class Posterior:
    """Posteriors q(z|x) of some images, diagonal Gaussians.

    Attributes:
        mean: `[n, d]` float32.
        log_var: `[n, d]` float32, natural logarithm of the variance.
    """

    mean: np.ndarray
    log_var: np.ndarray

    @property
    def stddev(self) -> np.ndarray:
        """`[n, d]` float32, standard deviation."""
        return np.exp(self.log_var / 2)


class Run:
    """The averaged model of a run's newest checkpoint.

    Attributes:
        config: Settings of the run.
        step: Number of updates that the model has seen.
        image_shape: `[s, s, c]` of the images that the model takes and makes.
        latent_dim: Number of latents.
    """

    def __init__(self, run_dir: Path, dataset_dir: Path | None = None) -> None:
        """Loads the model; see `trainer.load_run`."""
        self._directory = pathlib.Path(run_dir)
        dataset = None if dataset_dir is None else os.fspath(dataset_dir)
        self._run = trained.load(self._directory, dataset)
        self.config: ConfigDict = self._run.config
        self.step = self._run.step
        self.image_shape = self._run.manifest.image_shape
        self.latent_dim = int(self.config.latent_dim)

    def encode(self, images: Any, **condition: npt.ArrayLike) -> Posterior:
        """Returns the posteriors of images.

        Args:
            images: `[n, h, w, c]` uint8 of any size, which are cropped and resized as
                `pipeline.prepare` did; `[n, s, s, c]` floats in [-1, 1], which are
                taken as they are; paths of image files; or a `tf.data.Dataset` of
                images, batches of images, pairs with an image first, or dictionaries
                with an `image`.
            **condition: `label`, `[n]` classes, or `attributes`, `[n, k]` of 0 and 1,
                for a conditional model; one value serves all images.

        Raises:
            ValueError: If there is no image, an image cannot be read or has another
                form, or the condition is not the model's.

        Example:
            posterior = trainer.load_run("runs/celeba").encode(["a.jpg", "b.png"])
        """
        means, log_vars, first = [], [], 0
        told = None
        for batch in self._batches(images):
            if told is None:
                told = self._conditions(condition)
            part = _repeated(told, first, len(batch))
            if len(part) < len(batch):
                _check_num(told, first + len(batch))
            seen = corruption.fixed_binarization(tf.constant(batch), self.config)
            keys = np.arange(first, first + len(batch)).astype(str)
            inputs = seen.numpy()
            mean, log_var = sampling.encode(
                self._run, Examples(keys, inputs, inputs, part)
            )
            means.append(mean)
            log_vars.append(log_var)
            first += len(batch)
        if not means:
            raise ValueError("no image is given")
        _check_num(told, first)
        return Posterior(np.concatenate(means), np.concatenate(log_vars))

    def decode(self, z: npt.ArrayLike, **condition: npt.ArrayLike) -> np.ndarray:
        """Returns the mean images of p(x|z).

        Args:
            z: `[n, d]` latents.
            **condition: As in `encode`.

        Returns:
            `[n, s, s, c]` uint8.

        Raises:
            ValueError: If the latents have another shape or are not finite, or the
                condition is not the model's.
        """
        latents = np.asarray(z, np.float32)
        told = self._conditions(condition)
        _check_num(told, len(latents))
        return _to_levels(sampling.decode(self._run, latents, told, seed=0).mean)

    def reconstruct(self, images: Any, **condition: npt.ArrayLike) -> np.ndarray:
        """Returns the images that `decode` makes of the posterior means.

        Args:
            images: As in `encode`.
            **condition: As in `encode`.

        Returns:
            `[n, s, s, c]` uint8.

        Raises:
            ValueError: As `encode`.
        """
        return self.decode(self.encode(images, **condition).mean, **condition)

    def sample(
        self,
        num: int,
        seed: int = 0,
        temperature: float = 1.0,
        **condition: npt.ArrayLike,
    ) -> np.ndarray:
        """Returns mean images of p(x|z) for draws z of the prior.

        Args:
            num: Number of images.
            seed: Seed of the draws; equal seeds give equal images.
            temperature: Factor of the draws; below 1 they are nearer to the mean.
            **condition: As in `encode`. Without it, a model of classes makes each
                class in turn.

        Returns:
            `[num, s, s, c]` uint8.

        Raises:
            ValueError: If `num` is below 1, or the condition is not the model's.
        """
        if num < 1:
            raise ValueError(f"num={num} must be at least 1")
        if self.config.condition == "label" and not condition:
            condition = {"label": np.arange(num) % self.config.num_classes}
        z = temperature * sampling.draw_prior(self._run, num, seed)
        return self.decode(z, **condition)

    def interpolate(
        self,
        start: Any,
        end: Any,
        num: int,
        *,
        spherical: bool = False,
        **condition: npt.ArrayLike,
    ) -> np.ndarray:
        """Returns images on the way from one image or latent to another.

        Args:
            start: `[h, w, c]` image, path of an image file, or `[d]` latent.
            end: The same of the other end.
            num: Number of images, both ends included; at least 2.
            spherical: Whether the way is an arc about the origin, and not a line.
            **condition: As in `encode`, one value.

        Returns:
            `[num, s, s, c]` uint8.

        Raises:
            ValueError: If `num` is below 2, or as `encode`.
        """
        ends = [self._latent(each, condition) for each in (start, end)]
        z = sample_grids.interpolate(*ends, num, spherical=spherical)
        return self.decode(z, **condition)

    def metrics(self) -> list[dict[str, Any]]:
        """Returns the lines of metrics.jsonl, in the order of the steps.

        Each has `step`, `split`, and a number for each logged scalar.
        """
        rows, _ = metrics_file.read(self._directory / metrics_file.NAME)
        return rows

    def _latent(self, end: Any, condition: dict[str, npt.ArrayLike]) -> np.ndarray:
        if not isinstance(end, _PATHS):
            end = np.asarray(end)
            if end.shape == (self.latent_dim,):
                return end.astype(np.float32)
            end = end[np.newaxis]
        images = [end] if isinstance(end, _PATHS) else end
        return self.encode(images, **condition).mean[0]

    def _batches(self, images: Any) -> Iterator[np.ndarray]:
        """Yields `[b, s, s, c]` float32 images in [-1, 1]."""
        pending: list[np.ndarray] = []
        for image in _each(images):
            pending.append(self._prepared(image, len(pending)))
            if len(pending) == _BATCH_SIZE:
                yield np.stack(pending)
                pending = []
        if pending:
            yield np.stack(pending)

    def _prepared(self, image: Path | np.ndarray, place: int) -> np.ndarray:
        """Returns an image as a record's reader gets it, `[s, s, c]` float32."""
        channels = self.image_shape[2]
        name = os.fspath(image) if isinstance(image, _PATHS) else f"image {place}"
        try:
            if isinstance(image, _PATHS):
                data = pathlib.Path(image).expanduser().read_bytes()
                decode = rgb.decode_as_rgb if channels == 3 else rgb.decode_as_grey
                image = decode(data)
            if np.issubdtype(image.dtype, np.floating):
                return self._checked(image)
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != channels:
                raise ValueError(
                    f"{name} is {image.dtype} {list(image.shape)}: it must be uint8 "
                    f"[height, width, {channels}], or floats in [-1, 1] of "
                    f"{list(self.image_shape)}"
                )
            stored = squares.preprocess(image, **self._preprocessing())
        except squares.RejectedImageError as error:
            raise ValueError(f"{name}: {error.reason} ({error.detail})") from error
        except OSError as error:
            raise ValueError(f"cannot read the image {name}: {error}") from error
        if stored.dtype == np.uint8:
            scale, offset = contract.IMAGE_DTYPES["uint8"]
            return (stored * scale + offset).astype(np.float32)
        return stored.astype(np.float32)

    def _checked(self, image: np.ndarray) -> np.ndarray:
        if image.shape != self.image_shape or not (np.abs(image) <= 1).all():
            raise ValueError(
                f"an image of floats must be {list(self.image_shape)} in [-1, 1], and "
                f"this one is {list(image.shape)} from {image.min():.4g} to "
                f"{image.max():.4g}: give uint8 pixels for images of other sizes"
            )
        return image.astype(np.float32)

    def _preprocessing(self) -> dict[str, Any]:
        manifest = self._run.manifest
        return {
            "image_size": self.image_shape[0],
            "image_dtype": manifest.image_dtype,
            "resize": manifest.settings["resize"],
            "crop_size": manifest.settings["crop_size"],
            "function": manifest.settings.get("preprocess"),
        }

    def _conditions(self, condition: dict[str, npt.ArrayLike]) -> np.ndarray:
        """Returns the condition vectors, `[m, num_conditions]`, of `m` values."""
        name = str(self.config.condition)
        wanted = set() if name == "none" else {name}
        if semi_supervised.is_used(self.config) and not condition:
            condition = {"label": [-1]}
        if condition.keys() != wanted:
            found = ", ".join(condition) or "none"
            allowed = f"{name}=" if wanted else "no condition"
            raise ValueError(f"this model takes {allowed}, and got {found}")
        if not wanted:
            return np.zeros([1, 0], np.float32)
        values = np.asarray(condition[name])
        if not values.size:
            raise ValueError(f"{name} is empty: give one value, or one for each image")
        if not np.issubdtype(values.dtype, np.integer):
            raise ValueError(f"{name} must be integers, and is {values.dtype}")
        if name == "label":
            batch = {"label": values.reshape(-1)}
            conditions.check_labels(batch, self.config)
        else:
            width = self._run.vae.num_conditions
            if values.shape[-1:] != (width,):
                raise ValueError(
                    f"attributes must be [n, {width}], and are {list(values.shape)}"
                )
            batch = {"attributes": values.reshape(-1, width)}
            if not np.isin(values, (0, 1)).all():
                raise ValueError("attributes must be 0 or 1")
        tensors = {key: tf.constant(value) for key, value in batch.items()}
        return conditions.of_batch(tensors, self.config).numpy()


def _each(images: Any) -> Iterator[Path | np.ndarray]:
    """Yields the images of anything that `Run.encode` takes."""
    if isinstance(images, _PATHS):
        raise ValueError(f"{images!r} is one path: give a list of paths")
    if isinstance(images, tf.data.Dataset):
        for element in images.as_numpy_iterator():
            yield from _of_element(element)
    elif isinstance(images, Sequence) and all(isinstance(x, _PATHS) for x in images):
        yield from images
    elif isinstance(images, Iterable) and not hasattr(images, "__array__"):
        yield from (np.asarray(image) for image in images)
    else:
        array = np.asarray(images)
        if array.ndim != 4:
            raise ValueError(
                f"images must be [n, height, width, channels], and are "
                f"{list(array.shape)}"
            )
        yield from array


def _of_element(element: Any) -> Iterator[np.ndarray]:
    if isinstance(element, dict):
        if "image" not in element:
            raise ValueError(
                f"an element of the tf.data.Dataset has {', '.join(element)}, and no "
                "'image'"
            )
        element = element["image"]
    elif isinstance(element, tuple):
        element = element[0]
    array = np.asarray(element)
    yield from array if array.ndim == 4 else [array]


def _repeated(told: np.ndarray, first: int, num: int) -> np.ndarray:
    """Returns the vectors of `num` images from the place `first` on."""
    if len(told) == 1:
        return np.repeat(told, num, axis=0)
    return told[first : first + num]


def _check_num(told: np.ndarray | None, num: int) -> None:
    if told is not None and len(told) not in (1, num):
        raise ValueError(f"{len(told)} conditions for {num} images: give one for each")


def _to_levels(images: np.ndarray) -> np.ndarray:
    """Returns images in [-1, 1] as uint8 pixels."""
    return np.rint((images + 1) * 127.5).clip(0, 255).astype(np.uint8)
