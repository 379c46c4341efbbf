"""Makes the examples of a shard in turn, and collects the refused images.

A transient fault must leave no reject: a source may be truncated or damaged while a run
reads it, and sound again later. Rejects therefore get a second look before a run keeps
the shard of an earlier run, and before it publishes a dataset.

This module imports neither TensorFlow nor Beam, so a worker starts in a second.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.formats import records
from pipeline.images import squares
from pipeline.planning.dataset_settings import Settings
from pipeline.sources import Reader
from pipeline.sources.image_table import ImageTable


@dataclasses.dataclass(frozen=True)
class Reject:
    """A refused image: its key, a reason from `squares.REASONS`, and a detail."""

    key: str
    reason: str
    detail: str

    def __post_init__(self) -> None:
        """Checks the fields, because they may come from a sidecar."""
        are_texts = isinstance(self.key, str) and isinstance(self.detail, str)
        if not are_texts or self.reason not in squares.REASONS:
            raise ValueError(f"not a rejected image: {self!r:.80}")


def make_examples(
    images: ImageTable, settings: Settings, reader: Reader, rejects: list[Reject]
) -> Iterator[records.Example]:
    """Yields the fields of each image's record, and collects the refused images.

    Args:
        images: Keys, locations and features of the images.
        settings: Preprocessing settings of the images.
        reader: Reader of the source.
        rejects: Receives the images that yield no record.

    Raises:
        DatasetError: If the source cannot be read, or has changed.
    """
    reader.prefetch(images.keys, images.locations)
    # A record stores a scalar as a list of one value.
    features = {
        name: values.reshape(len(images), -1).tolist()
        for name, values in images.features.items()
    }
    for position, key in enumerate(images.keys):
        try:
            image = _make_image(key, images.locations[position], settings, reader)
        except squares.RejectedImageError as error:
            rejects.append(Reject(key=key, reason=error.reason, detail=error.detail))
            continue
        yield key, image, {name: values[position] for name, values in features.items()}


def find_unconfirmed(
    rejects: Sequence[Reject], images: ImageTable, settings: Settings, reader: Reader
) -> Reject | None:
    """Returns the first reject that a second look does not confirm, or None.

    A second look confirms a reject if it refuses the image again for the same reason.

    Args:
        rejects: Refused images of a shard.
        images: All images of the shard.
        settings: Preprocessing settings of the images.
        reader: Reader of the source.

    Raises:
        DatasetError: If the source cannot be read, or has changed.
    """
    if not rejects:
        return None
    by_key = {reject.key: reject for reject in rejects}
    places = [place for place, key in enumerate(images.keys) if key in by_key]
    refused = images.take(np.array(places, np.int64))
    reader.prefetch(refused.keys, refused.locations)
    for key, location in zip(refused.keys, refused.locations, strict=True):
        try:
            _make_image(key, location, settings, reader)
        except squares.RejectedImageError as error:
            if error.reason == by_key[key].reason:
                del by_key[key]
                continue
        return by_key[key]
    # A key that is not in the plan cannot be confirmed as a reject of this shard.
    return next(iter(by_key.values()), None)


def _make_image(
    key: str, location: np.ndarray, settings: Settings, reader: Reader
) -> np.ndarray:
    return squares.preprocess(
        reader.read(key, location),
        image_size=settings.image_size,
        image_dtype=settings.image_dtype,
        resize=settings.resize,
        crop_size=settings.crop_size,
        function=settings.preprocess,
    )
