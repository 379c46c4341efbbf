"""Turns raw images into verified TFRecord shards with an Apache Beam job.

contract    manifest, features, and names of shards: all that the trainer sees
prepare     command: raw images to verified shards
encode      command: images to shards of latents
verify      command: a dataset against its manifest
synthesize  command: draws a synthetic CelebA

A program calls `prepare_dataset(Settings(...), input=..., output=...)`.
"""

from pipeline.process import interrupts, limits

# An import by another program changes nothing.
if interrupts.is_command():
    # A signal is answered from here on, while libraries are imported, too.
    interrupts.begin()
    limits.prepare()

__all__ = ["Settings", "prepare_dataset"]

# As in `typing`, whose import takes time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from pipeline.api.datasets import Settings, prepare_dataset


def __getattr__(name: str) -> object:
    """Returns what `pipeline.api` has, which needs NumPy and more."""
    if name in __all__:
        from pipeline.api import datasets

        return getattr(datasets, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
