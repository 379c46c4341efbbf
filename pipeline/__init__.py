"""Turns raw images into verified TFRecord shards with an Apache Beam job.

contract    manifest, features and shard names: the trainer's view of a dataset
prepare     command: raw images to verified shards
encode      command: images to shards of latents
verify      command: checks a dataset against its manifest
synthesize  command: draws a synthetic CelebA

Other programs can call `prepare_dataset(Settings(...), input=..., output=...)`.
"""

from pipeline.process import interrupts, limits

# Only a command may change the process; an import by another program changes nothing.
if interrupts.is_command():
    # Handle signals from here on, also while libraries are imported.
    interrupts.begin()
    limits.prepare()

__all__ = ["Settings", "prepare_dataset"]

# `typing.TYPE_CHECKING` means the same, but importing `typing` takes time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from pipeline.api.datasets import Settings, prepare_dataset


def __getattr__(name: str) -> object:
    """Imports an attribute of `pipeline.api`, which needs NumPy and more, on demand."""
    if name in __all__:
        from pipeline.api import datasets

        return getattr(datasets, name)
    # Scripts written for earlier releases import this module by its former name.
    if name == "rgb":
        from pipeline.images import rgb

        return rgb
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
