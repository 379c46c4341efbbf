"""What trainer.generate is asked for: a mode and its arguments, without TensorFlow."""

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


@dataclasses.dataclass(frozen=True)
class Request:
    """What to make.

    Attributes:
        mode: One of `MODES`.
        split: Split of the examples; None for the one that training evaluated.
        where: NAME=VALUE that a feature of the examples must have, or None.
        num: Number of images, examples or steps.
        seed: Seed of every draw.
        prior: `normal` or `mixture`: the distribution of samples.
        num_components: Components of the mixture.
        latents: File of latents to decode, or directory of pipeline.encode, or None.
        path: `linear` or `spherical` interpolation.
        dimensions: Latents to traverse, as text; None for all.
        attributes: Attributes to try; None for all.
        limit: Traversals, and strengths of attributes, go from -limit to limit.
    """

    mode: str
    split: str | None
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
    """Checks what needs no run.

    Raises:
        ValueError: If latents are given to a mode that takes none.
    """
    takes = request.mode in ("decode", *_READERS) or (
        request.mode == "sample" and request.prior == "mixture"
    )
    if request.latents is not None and not takes:
        raise ValueError(
            f"--latents={request.latents} is for --mode=decode, a file, and for "
            f"--mode={', '.join(_READERS)} and sample with --prior=mixture, a directory"
        )
