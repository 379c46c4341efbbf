"""True factors of synthetic faces, from the file that was written with the faces."""

import csv
import dataclasses
from collections.abc import Sequence

import numpy as np

from pipeline.process import wording


@dataclasses.dataclass(frozen=True)
class Factors:
    """Factors that vary among some images.

    Attributes:
        values: `[n, f]` float64; a categorical factor holds the index of its value.
        are_categorical: `[f]` bool.
    """

    values: np.ndarray
    are_categorical: np.ndarray


def load(path: str, keys: Sequence[str]) -> Factors:
    """Returns the factors of the images with the given keys, in the order of the keys.

    Args:
        path: `factors.csv`: a row for each image, with its key in the column `image`.
        keys: Keys of n images.

    Raises:
        ValueError: If the file is not such a table or lacks an image, or no factor
            varies among the images.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = {row.pop("image"): row for row in csv.DictReader(file)}
        chosen = [rows[key] for key in keys]
    except KeyError as error:
        raise ValueError(
            f"factors={path} has no row or column for {error}: give the factors.csv "
            "of the faces that the dataset was prepared from"
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"factors={path} cannot be read: {wording.cause(error)}"
        ) from error
    parsed = [_parse([row[name] for row in chosen]) for name in chosen[0]]
    # A factor that does not vary among these images cannot be scored.
    varied = [column for column in parsed if len(np.unique(column[0])) > 1]
    if not varied:
        raise ValueError(
            f"factors={path}: no factor varies in the split, which has "
            f"{wording.counted(len(keys), 'example')}: give a larger `split`"
        )
    values, are_categorical = zip(*varied, strict=True)
    return Factors(np.stack(values, axis=1), np.array(are_categorical))


def _parse(texts: Sequence[str]) -> tuple[np.ndarray, bool]:
    """Returns a factor as numbers, and whether the numbers only name categories."""
    try:
        values = np.array(texts, np.float64)
    except ValueError:
        return np.unique(texts, return_inverse=True)[1].astype(np.float64), True
    return values, set(texts) <= {"0", "1"}
