"""Examples of a split that `where` selects, and condition vectors for the decoder."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline import contract
from trainer.runs.trained import TrainedRun

_BATCH_SIZE = 200


@dataclasses.dataclass(frozen=True)
class Examples:
    """Some examples of a split.

    Attributes:
        keys: `[n]` strings.
        images: `[n, height, width, channels]`, targets of the reconstruction.
        inputs: Images as the encoder sees them, of the same shape.
        conditions: `[n, num_conditions]`.
    """

    keys: np.ndarray
    images: np.ndarray
    inputs: np.ndarray
    conditions: np.ndarray


def find_examples(
    run: TrainedRun, split: str, num: int, where: str | None = None
) -> Examples:
    """Returns the first examples of a split that `where` selects.

    Args:
        run: Trained run; its dataset is read.
        split: Split of the run's dataset.
        num: Maximum number of examples.
        where: `NAME=VALUE`, a feature and its required integer, such as `label=7`; a
            class by its name, such as `label=Alice`; or an attribute by its name, such
            as `Smiling=1`. None selects all examples.

    Raises:
        ValueError: If `where` is malformed, has an unknown name, or selects no example.
    """
    parts: list[Examples] = []
    for batch in run.batches(split, _BATCH_SIZE):
        chosen = _satisfying(run, batch, where)
        names = ("key", "image", "input", "conditions")
        parts.append(Examples(*(batch[name][chosen] for name in names)))
        if sum(len(part.keys) for part in parts) >= num:
            break
    matches = concatenate(parts, num)
    if not len(matches.keys):
        raise ValueError(
            f"where={where} matches no example of split {split!r}: give another "
            "value or another `split`"
        )
    return matches


def find_conditions(
    run: TrainedRun, split: str, num: int, where: str | None
) -> np.ndarray:
    """Returns condition vectors for the decoder, `[m, num_conditions]`.

    With `where`, they are the conditions of the first `num` examples that it selects.
    Without `where`, a model of labels gets every class once, and a model of attributes
    gets the conditions of the first `num` examples. An unconditional decoder gets one
    vector of length 0.

    Raises:
        ValueError: As `find_examples`.
    """
    if not run.vae.num_conditions:
        return np.zeros([1, 0], np.float32)
    if where is None and run.config.condition == "label":
        return np.eye(run.config.num_classes, dtype=np.float32)
    return find_examples(run, split, num, where).conditions


def _satisfying(
    run: TrainedRun, batch: dict[str, np.ndarray], where: str | None
) -> np.ndarray:
    """Returns `[b]` bool: whether `where` selects each example of a batch."""
    if where is None:
        return np.ones(len(batch["key"]), bool)
    name, value = parse_where(where, run.manifest.features)
    columns = {
        label: batch[feature][:, column]
        for feature, info in run.manifest.features.items()
        if info.shape
        for column, label in enumerate(info.names)
    }
    columns |= {
        feature: values
        for feature, values in batch.items()
        if values.ndim == 1 and feature not in ("key", "record_id")
    }
    if name not in columns:
        raise ValueError(
            f"where={where} names no feature of the dataset; it has "
            f"{', '.join(sorted(columns)) or 'none'}"
        )
    return columns[name] == value


def parse_where(
    where: str, features: Mapping[str, contract.Feature]
) -> tuple[str, int]:
    """Returns the feature and its value in a text NAME=VALUE.

    Args:
        where: The text; the value is an integer, or the name of a class.
        features: Features of the dataset, by name.

    Raises:
        ValueError: If the text has another form.
    """
    name, _, text = where.partition("=")
    feature = features.get(name)
    classes = feature.names if feature and not feature.shape else ()
    if text in classes:
        return name, classes.index(text)
    if not text.lstrip("-").isdecimal():
        named = f", or one of {', '.join(classes)}" if classes else ", as in label=7"
        raise ValueError(f"where={where} must be NAME=VALUE with an integer{named}")
    return name, int(text)


def concatenate(parts: Sequence[Examples], num: int | None = None) -> Examples:
    """Returns the first `num` examples of several parts; all of them by default."""
    columns = [
        [getattr(part, field.name) for part in parts]
        for field in dataclasses.fields(Examples)
    ]
    return Examples(*(np.concatenate(column)[:num] for column in columns))
