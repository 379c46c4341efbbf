"""Statistics of a dataset: brightness, colours, labels, and a few of its images.

Every statistic is computed from integer counts: of pixels by 8-bit level, and of
labels. The sum over shards is therefore the same in any order and on any runner.
"""

import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from pipeline import contract
from pipeline.formats import records

STATS_NAME = "stats.json"

_NUM_LEVELS, _NUM_BINS = 256, 32
_NUM_THUMBNAILS = 16
_MAX_THUMBNAIL_SIDE = 128
# Weights of red, green and blue in a pixel's brightness, in thousandths: ITU-R BT.601.
_LUMA_WEIGHTS = (299, 587, 114)


class Stats:
    """Counts over a set of examples.

    Attributes:
        num_examples: Number of examples counted.
        levels: `[channels, 256]` int64, number of pixels by channel and level.
        brightness: `[256]` int64, number of pixels by level of brightness.
        sums: Sum over examples of each multi-valued integer feature, by name, int64.
        values: Number of examples by value of each single-valued integer feature, by
            name.
    """

    def __init__(self, num_channels: int) -> None:
        """Starts with all counts at zero."""
        self.num_examples = 0
        self.levels = np.zeros([num_channels, _NUM_LEVELS], np.int64)
        self.brightness = np.zeros(_NUM_LEVELS, np.int64)
        self.sums: dict[str, np.ndarray] = {}
        self.values: dict[str, Counter[int]] = {}

    def add(self, image: np.ndarray, labels: Mapping[str, Sequence[int]]) -> None:
        """Counts one example.

        Args:
            image: `[height, width, channels]`, as a record stores it.
            labels: Integer features of the example, by name.
        """
        pixels = to_levels(image).reshape(-1, len(self.levels))
        brightness = pixels[:, 0]
        if len(self.levels) == len(_LUMA_WEIGHTS):
            brightness = (pixels @ np.array(_LUMA_WEIGHTS) + 500) // 1000
        for counts, values in zip(self.levels, pixels.T, strict=True):
            counts += np.bincount(values, minlength=_NUM_LEVELS)
        self.brightness += np.bincount(brightness, minlength=_NUM_LEVELS)
        self.num_examples += 1
        for name, values in labels.items():
            if len(values) == 1:
                self.values.setdefault(name, Counter()).update(values)
            else:
                self.sums[name] = self.sums.get(name, 0) + np.array(values)

    def merge(self, other: "Stats") -> None:
        """Adds the counts of another set of examples."""
        self.num_examples += other.num_examples
        self.levels += other.levels
        self.brightness += other.brightness
        for name, counts in other.values.items():
            self.values.setdefault(name, Counter()).update(counts)
        for name, sums in other.sums.items():
            self.sums[name] = self.sums.get(name, 0) + sums

    def to_dict(self) -> dict[str, Any]:
        """Returns the counts as JSON values."""
        return {
            "num_examples": self.num_examples,
            "levels": self.levels.tolist(),
            "brightness": self.brightness.tolist(),
            "sums": {name: sums.tolist() for name, sums in self.sums.items()},
            "values": {name: dict(counts) for name, counts in self.values.items()},
        }

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> "Stats":
        """Rebuilds the counts from `to_dict`, even if JSON made the keys strings."""
        stats = cls(len(body["levels"]))
        stats.num_examples = int(body["num_examples"])
        stats.levels += np.array(body["levels"], np.int64)
        stats.brightness += np.array(body["brightness"], np.int64)
        stats.sums = {
            name: np.array(sums, np.int64) for name, sums in body["sums"].items()
        }
        stats.values = {
            name: Counter({int(value): int(count) for value, count in counts.items()})
            for name, counts in body["values"].items()
        }
        return stats


def are_sound(body: Any, features: Mapping[str, contract.Feature]) -> bool:
    """Returns whether a sidecar's `body` fits `Stats.to_dict` for these features."""
    try:
        stats = Stats.from_dict(body)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return False
    return len(stats.levels) == features["image"].shape[2] and all(
        name in features and sums.shape == features[name].shape
        for name, sums in stats.sums.items()
    )


def to_levels(image: np.ndarray) -> np.ndarray:
    """Returns a stored image in 0-255 levels, int64."""
    if image.dtype == np.uint8:
        return image.astype(np.int64)
    return np.rint((image.astype(np.float32) + 1) * 127.5).astype(np.int64)


def of_shard(path: str, features: Mapping[str, contract.Feature]) -> Stats:
    """Returns the counts over a shard that is already written.

    Raises:
        DatasetError: If the shard is damaged.
    """
    stats = Stats(features["image"].shape[2])
    for _, image, labels in _read(path, features):
        stats.add(image, labels)
    return stats


def stats_json(
    by_split: Mapping[str, Stats], features: Mapping[str, contract.Feature]
) -> str:
    """Returns the text of `stats.json`.

    Args:
        by_split: Counts of each split.
        features: Features of a record; they name the elements that were counted.

    Returns:
        JSON with one object per split: `num_examples`; `mean` and `stddev` of each
        channel, with values in [-1, 1]; `brightness`, a histogram of 32 bins from
        black to white; the mean of each element of a multi-valued feature, which for
        attributes is the share of examples that have it; and the number of examples
        by value of a single-valued feature.
    """
    body = {split: _summary(stats, features) for split, stats in by_split.items()}
    return json.dumps(body, indent=1) + "\n"


def overview_png(
    paths: Sequence[str], features: Mapping[str, contract.Feature]
) -> bytes:
    """Returns a PNG of the first sixteen images of some shards, four per row.

    Records are in the order of a hash, so these images are a random choice.

    Raises:
        DatasetError: If a shard is damaged.
    """
    pictures: list[np.ndarray] = []
    for path in paths:
        for _, image, _ in _read(path, features):
            pictures.append(to_levels(image).astype(np.uint8))
            if len(pictures) == _NUM_THUMBNAILS:
                break
        if len(pictures) == _NUM_THUMBNAILS:
            break
    side = min(pictures[0].shape[0], _MAX_THUMBNAIL_SIDE)
    per_row = 4
    num_rows = -(-len(pictures) // per_row)
    sheet = Image.new("RGB", (per_row * side, num_rows * side))
    for place, picture in enumerate(pictures):
        thumbnail = Image.fromarray(np.squeeze(picture)).resize((side, side))
        row, column = divmod(place, per_row)
        sheet.paste(thumbnail, (column * side, row * side))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


def _read(
    path: str, features: Mapping[str, contract.Feature]
) -> Iterator[tuple[str, np.ndarray, dict[str, list[int]]]]:
    return records.parse_examples(records.read_frames(path), path, features)


def _summary(stats: Stats, features: Mapping[str, contract.Feature]) -> dict[str, Any]:
    counts = stats.levels
    values = np.arange(_NUM_LEVELS) / 127.5 - 1
    total = counts.sum(axis=1)
    mean = counts @ values / total
    stddev = np.sqrt(np.maximum(counts @ values**2 / total - mean**2, 0))
    summary: dict[str, Any] = {
        "num_examples": stats.num_examples,
        "mean": mean.tolist(),
        "stddev": stddev.tolist(),
        "brightness": stats.brightness.reshape(_NUM_BINS, -1).sum(axis=1).tolist(),
    }
    for name, sums in stats.sums.items():
        shares = (sums / stats.num_examples).tolist()
        labels = features[name].names or tuple(map(str, range(len(shares))))
        summary[name] = dict(zip(labels, shares, strict=True))
    for name, counts in stats.values.items():
        summary[name] = {str(value): counts[value] for value in sorted(counts)}
    return summary
