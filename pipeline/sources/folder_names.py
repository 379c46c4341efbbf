"""Reads folder names as words, and finds the split that they name."""

import dataclasses
import re
from collections.abc import Iterator, Mapping

_SPLIT_OF_WORD: Mapping[str, str] = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), "train"),
    **dict.fromkeys(("validation", "validate", "valid", "val"), "validation"),
    **dict.fromkeys(("dev", "devel", "development"), "validation"),
    **dict.fromkeys(("eval", "evaluation"), "validation"),
    **dict.fromkeys(("test", "testing", "tests", "tst", "holdout"), "test"),
}
# Words that say nothing about a folder. Digits, as in a year, also say nothing.
_PLAIN_WORDS = frozenset(
    ("set", "subset", "split", "data", "dataset", "folder", "dir", "part", "x", "px")
)
IMAGE_WORDS = frozenset(
    ("image", "images", "img", "imgs", "picture", "pictures", "pic", "pics", "photo")
    + ("photos", "jpg", "jpgs", "jpeg", "jpegs", "png", "pngs", "frames", "samples")
)
# Words for folders that lie beside splits and hold other data, such as masks.
_COMPANION_WORDS = frozenset(
    ("extra", "unlabeled", "unlabelled", "unsup", "unsupervised", "label", "labels")
    + ("mask", "masks", "annotation", "annotations", "annot", "gt", "groundtruth")
    + ("segmentation", "segmentations", "pred", "predict", "prediction")
)
# Names that mean a split even where no folder holds the training images.
PLAIN_SPLITS = frozenset(("train", "validation", "val", "valid", "test"))

# Words that are often written as two.
_COMPOUNDS = {r"h[eo]ld[\W_]*out": "holdout", r"train[\W_]*val(?![a-z])": "trainval"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+|[^\W\d_]+")
_GLUED = re.compile(
    f"({'|'.join(sorted(_SPLIT_OF_WORD, key=len, reverse=True))})"
    f"({'|'.join(sorted(_PLAIN_WORDS | IMAGE_WORDS, key=len, reverse=True))})"
)


@dataclasses.dataclass(frozen=True)
class Reading:
    """The name of a folder as words.

    Attributes:
        split: Split that the name means; None if it names no split or several.
        rest: Remaining words, without words that say nothing about a folder.
    """

    split: str | None
    rest: tuple[str, ...]

    @property
    def is_plain(self) -> bool:
        """Whether the name means a split and nothing else."""
        return self.split is not None and not self.rest

    @property
    def is_companion(self) -> bool:
        """Whether such a folder lies beside splits and holds other data."""
        return not _COMPANION_WORDS.isdisjoint(self.rest)


def read(name: str) -> Reading:
    """Returns the split and the remaining words of a folder's name."""
    name_words = list(words(name))
    splits = {_SPLIT_OF_WORD[word] for word in name_words if word in _SPLIT_OF_WORD}
    idle = _SPLIT_OF_WORD.keys() | _PLAIN_WORDS | IMAGE_WORDS
    rest = tuple(word for word in name_words if not word.isdigit() and word not in idle)
    return Reading(splits.pop() if len(splits) == 1 else None, rest)


def words(name: str) -> Iterator[str]:
    """Yields the words of a name in lower case; divides words written together."""
    for pattern, word in _COMPOUNDS.items():
        name = re.sub(pattern, word, name, flags=re.IGNORECASE)
    for word in _WORD.findall(name):
        glued = _GLUED.fullmatch(word.lower())
        yield from glued.groups() if glued else [word.lower()]
