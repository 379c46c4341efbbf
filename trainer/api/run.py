"""A trained run as an object: encode, decode, sample, reconstruct, interpolate.

Methods take images in any form that `Run.encode` lists, and return images as uint8
pixels. No method needs the dataset that the run was trained on.

n  images     s  image size of the run     c  channels     d  latent_dim
"""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt
from ml_collections import ConfigDict

from pipeline.process import arguments
from trainer.analysis import user_conditions
from trainer.analysis.user_images import PATHS, Path, UserImages
from trainer.generation import sampling
from trainer.reporting import sample_grids
from trainer.runs import metrics_file, trained

# Arguments of `trainer.load_run` that errors name differently.
_NAMES = {"workdir": "path"}


@dataclasses.dataclass(frozen=True)
class Posterior:
    """Posteriors q(z|x) of n images, diagonal Gaussians.

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
    """Averaged model of a run's newest checkpoint.

    Attributes:
        config: Settings of the run.
        step: Number of optimizer updates that the model has seen.
        image_shape: `[s, s, c]`, shape of the model's input and output images.
        latent_dim: Number of latents.
    """

    def __init__(
        self,
        run_dir: Path,
        dataset_dir: Path | None = None,
        preprocess: str | None = None,
    ) -> None:
        """Loads the model; see `trainer.load_run`."""
        self._directory = pathlib.Path(run_dir)
        dataset = None if dataset_dir is None else os.fspath(dataset_dir)
        try:
            self._run = trained.load(self._directory, dataset)
        except ValueError as error:
            text = arguments.renamed(str(error), _NAMES)
            if text == str(error):
                raise
            raise type(error)(text) from error
        self.config: ConfigDict = self._run.config
        self.step = self._run.step
        self.image_shape = self._run.manifest.image_shape
        self._images = UserImages(self._run.manifest, preprocess)
        self.latent_dim = int(self.config.latent_dim)

    def encode(self, images: Any, **condition: npt.ArrayLike) -> Posterior:
        """Returns the posteriors of images.

        Args:
            images: `[n, h, w, c]` uint8 of any size, cropped and resized as by
                `pipeline.prepare`; `[n, s, s, c]` floats in [-1, 1], taken unchanged;
                paths of image files; or a `tf.data.Dataset` of images, batches of
                images, pairs with an image first, or dictionaries with an `image`.
            **condition: `label`, `[n]` classes, or `attributes`, `[n, k]` of 0 and 1,
                for a conditional model. One value serves all images.

        Raises:
            ValueError: If no image is given, an image cannot be read or has another
                form, or the model does not take the condition.

        Example:
            posterior = trainer.load_run("runs/celeba").encode(["a.jpg", "b.png"])
        """
        parts = [
            sampling.encode(self._run, part)
            for part in self._images.examples(self._run, images, condition)
        ]
        mean, log_var = map(np.concatenate, zip(*parts, strict=True))
        return Posterior(mean, log_var)

    def decode(self, z: npt.ArrayLike, **condition: npt.ArrayLike) -> np.ndarray:
        """Returns the mean images of p(x|z).

        Args:
            z: `[n, d]` latents.
            **condition: As in `encode`.

        Returns:
            `[n, s, s, c]` uint8.

        Raises:
            ValueError: If the latents have another shape or are not finite, or the
                model does not take the condition.
        """
        latents = np.asarray(z, np.float32)
        conditions = user_conditions.vectors(self._run, condition)
        user_conditions.check_num(conditions, len(latents))
        return _to_levels(sampling.decode(self._run, latents, conditions, seed=0).mean)

    def reconstruct(self, images: Any, **condition: npt.ArrayLike) -> np.ndarray:
        """Returns the mean images that `decode` makes from the posterior means.

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
        """Returns the mean images of p(x|z) for z drawn from the prior.

        Args:
            num: Number of images.
            seed: Seed of the draws; equal seeds give equal images.
            temperature: Factor that multiplies each z; below 1, z is nearer to the
                prior's mean.
            **condition: As in `encode`. Without a condition, a model with classes makes
                each class in turn.

        Returns:
            `[num, s, s, c]` uint8.

        Raises:
            ValueError: If `num` is below 1, or the model does not take the condition.
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
        """Returns images on the path from one image or latent to another.

        Args:
            start: `[h, w, c]` image, path of an image file, or `[d]` latent.
            end: Other end of the path, in any form that `start` may have.
            num: Number of images including both ends; at least 2.
            spherical: Whether the path is an arc about the origin instead of a line.
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

        Each line has `step`, `split`, and a number for each logged scalar.
        """
        lines, _ = metrics_file.read(self._directory / metrics_file.NAME)
        return lines

    def _latent(self, end: Any, condition: dict[str, npt.ArrayLike]) -> np.ndarray:
        if not isinstance(end, PATHS):
            end = np.asarray(end)
            if end.shape == (self.latent_dim,):
                return end.astype(np.float32)
            end = end[np.newaxis]
        images = [end] if isinstance(end, PATHS) else end
        return self.encode(images, **condition).mean[0]


def _to_levels(images: np.ndarray) -> np.ndarray:
    """Returns images in [-1, 1] as uint8 pixels."""
    return np.rint((images + 1) * 127.5).clip(0, 255).astype(np.uint8)
