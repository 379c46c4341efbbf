"""Requests to trainer.generate: a mode and its arguments, without TensorFlow."""

import dataclasses
from collections.abc import Sequence

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
        num: Number of images, examples or steps.
        seed: Seed of every draw.
        prior: Distribution of samples, `normal` or `mixture`.
        num_components: Number of components of the mixture.
        latents: File to decode, output directory of pipeline.encode, or None.
        path: Interpolation, `linear` or `spherical`.
        dimensions: Latents to traverse, as text; None for all.
        attributes: Attributes to try; None for all.
        limit: Largest traversal value or attribute strength; the smallest is -limit.
    """

    mode: str
    split: str | None
    image: Sequence[str] | None
    preprocess: str | None
    where: str | None
    num: int
    seed: int
    prior: str
    num_components: int
    latents: str | None
    path: str
    dimensions: Sequence[str] | None
    attributes: Sequence[str] | None
    limit: float


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
