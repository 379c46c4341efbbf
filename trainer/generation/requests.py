"""Requests to trainer.generate: a mode and its arguments, without TensorFlow."""

import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Sequence
from typing import Any

MODES = (
    "reconstruct",
    "posterior",
    "sample",
    "decode",
    "transform",
    "interpolate",
    "traverse",
    "attributes",
    "neighbours",
    "project",
    "browse",
)

# Modes that take a directory of latents.
_READERS = ("transform", "attributes", "neighbours", "project")
# Modes that take a user's images in place of the examples of a split.
_OF_IMAGES = (
    "reconstruct",
    "posterior",
    "transform",
    "interpolate",
    "traverse",
    "attributes",
    "neighbours",
)


# Arguments that leave the content of every file as it is.
_UNNAMED = ("mode", "preprocess", "draws")
_MAX_NAME = 120


@dataclasses.dataclass(frozen=True)
class Request:
    """A request to trainer.generate.

    Attributes:
        mode: Name in `MODES`.
        split: Split of the examples; None for the evaluation split of the training.
        image: Paths of the user's images, in place of examples; None for examples.
        preprocess: Name of the user's function, if it made the run's dataset.
        where: NAME=VALUE that a feature of the examples must have, or None. For the
            user's images, their condition.
        num: Number of images, examples or steps; 0 for the mode's own, see `filled`.
        seed: Seed of every draw.
        prior: Distribution of samples, `normal` or `mixture`.
        num_components: Number of components of the mixture.
        latents: File to decode, output directory of pipeline.encode, or None.
        path: Interpolation, `linear` or `spherical`.
        dimensions: Latents to traverse, as text; None for the ten of the largest KL
            divergence.
        attributes: Attributes to try; None for all.
        limit: Largest traversal value or attribute strength; the smallest is -limit.
        draws: Whether to draw from p(x|z) beside its mean; None for a Bernoulli
            likelihood only, whose draws are black and white.
    """

    mode: str
    split: str | None = None
    image: Sequence[str] | None = None
    preprocess: str | None = None
    where: str | None = None
    num: int = 0
    seed: int = 0
    prior: str = "normal"
    num_components: int = 10
    latents: str | None = None
    path: str = "linear"
    dimensions: Sequence[str] | None = None
    attributes: Sequence[str] | None = None
    limit: float = 3.0
    draws: bool | None = None

    def filled(self) -> "Request":
        """Returns the request with its number of images, examples or steps."""
        return dataclasses.replace(self, num=self.num or self._own_num)

    @property
    def _own_num(self) -> int:
        return 9 if self.mode in ("traverse", "attributes") else 25

    def name(self) -> str:
        """Returns the beginning of the names of the files.

        It has the mode, and every argument that is not at its default. So requests of
        other arguments write other files.

        Example:
            >>> Request("reconstruct", split="test", where="label=7", num=9).name()
            'reconstruct-test-where=label=7-num=9'
        """
        parts = [self.mode]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            defaults = [field.default, *[self._own_num] * (field.name == "num")]
            if field.name not in _UNNAMED and value not in defaults:
                text = _in_name(field.name, value)
                parts.append(text if field.name == "split" else f"{field.name}={text}")
        name = "-".join(parts)
        if len(name) > _MAX_NAME:
            digest = hashlib.sha256(name.encode()).hexdigest()[:8]
            name = f"{name[:_MAX_NAME]}-{digest}"
        return name


def _in_name(argument: str, value: Any) -> str:
    """Returns the value of an argument as a part of a file name."""
    if argument == "image":
        value = [pathlib.PurePath(path).stem for path in value]
    if argument == "latents":
        value = pathlib.PurePath(value).stem
    text = f"{value:g}" if isinstance(value, float) else value
    text = text if isinstance(text, str | int) else ",".join(text)
    return re.sub(r"[^\w.,=+-]", "_", str(text))


def check(request: Request) -> None:
    """Checks the parts of a request that need no run.

    Raises:
        ValueError: If the mode takes no latents or no images, and these are given.
    """
    takes = request.mode in ("decode", *_READERS) or (
        request.mode == "sample" and request.prior == "mixture"
    )
    if request.latents is not None and not takes:
        raise ValueError(
            f"latents={request.latents} does not apply to this `mode`: "
            f"mode=decode takes a file; mode={', '.join(_READERS)} and sample "
            "with prior=mixture take a directory"
        )
    if request.image is not None and request.mode not in _OF_IMAGES:
        raise ValueError(
            f"image={','.join(request.image)} does not apply to this `mode`: give one "
            f"of {', '.join(_OF_IMAGES)}"
        )
    if request.image is None and request.preprocess is not None:
        raise ValueError("`preprocess` applies only to images: give `image`, too")
