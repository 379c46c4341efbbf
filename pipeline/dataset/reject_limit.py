"""How many rejected images a dataset may have, and the error if there are more.

Among photographs a few files are often damaged. So a small dataset may have ten rejects
by default, if these are at most 5% of its images. A large one may have 0.1%.
"""

import collections
import json
from collections.abc import Iterable, Sequence

from pipeline import contract
from pipeline.dataset.shards import ShardResult
from pipeline.process import wording
from pipeline.storage import paths

_FRACTION = 0.001
_NUM_OF_SMALL_SET, _FRACTION_OF_SMALL_SET = 10, 0.05
_NUM_NAMED = 10


def allowed_fraction(num_images: int, given: float | None) -> float:
    """Returns the largest allowed fraction of rejected images.

    Args:
        num_images: Number of images of the source.
        given: The fraction that the user gave, or None for the default.

    Example:
        >>> [round(allowed_fraction(n, None) * n, 2) for n in (20, 428, 202_599)]
        [1.0, 10.0, 202.6]
    """
    if given is not None:
        return given
    return max(_FRACTION, min(_NUM_OF_SMALL_SET / num_images, _FRACTION_OF_SMALL_SET))


def sufficient_fraction(num_rejected: int, num_images: int) -> str:
    """Returns the smallest fraction with one digit that allows a number of rejects.

    Example:
        >>> sufficient_fraction(5, 428), sufficient_fraction(3, 10)
        ('0.02', '0.3')
    """
    digit, num_digits = num_rejected, 0
    # Integers have no rounding, which could make the fraction too small.
    while digit < num_images:
        digit, num_digits = digit * 10, num_digits + 1
    digit = -(-digit // num_images)
    if digit == 10**num_digits:
        return "1"
    return f"{digit / 10**num_digits:.{num_digits}f}"


def check(
    output: str,
    num_images: int,
    given: float | None,
    splits: Iterable[str],
    results: Sequence[ShardResult],
) -> None:
    """Checks that few enough images were rejected, and that no split is empty.

    Args:
        output: Directory of the dataset, whose `rejected.jsonl` names the rejects.
        num_images: Number of planned images.
        given: Largest fraction of rejects that the user gave, or None.
        splits: Splits with planned images.
        results: Results of all shards.

    Raises:
        DatasetError: If too many images were rejected, or a split has no image left.
    """
    num_examples: collections.Counter[str] = collections.Counter()
    for result in results:
        num_examples[result.split] += result.info.num_examples
    empty = next((split for split in splits if not num_examples[split]), None)
    lines = [json.loads(line) for line in rejected_lines(results).splitlines()]
    fraction, allowed = len(lines) / num_images, allowed_fraction(num_images, given)
    left = f"every image of split {empty!r} was rejected: repair the source"
    if fraction > allowed:
        named = ", ".join(
            f"{line['key']} ({line['reason']}: {line['detail']})"
            for line in lines[:_NUM_NAMED]
        )
        accepting = sufficient_fraction(len(lines), num_images)
        remedy = f"to accept these: `max_rejected_fraction={accepting}`"
        raise contract.DatasetError(
            f"{len(lines)} of {wording.counted(num_images, 'image')} "
            f"{'was' if len(lines) == 1 else 'were'} rejected, a fraction of "
            f"{fraction:.4g}, more than {_limit_text(num_images, given)}: {named}"
            f"{', ...' if len(lines) > _NUM_NAMED else ''}; "
            f"{paths.join(output, contract.REJECTED_NAME)} names all of them; "
            f"{left if empty else remedy}"
        )
    if empty is not None:
        raise contract.DatasetError(left)


def check_missing(keys: Sequence[str], num_images: int, given: float | None) -> None:
    """Checks that few enough images are missing, before any image is read.

    Args:
        keys: Keys of the images that the source lists but does not have.
        num_images: Number of planned images.
        given: Largest fraction of rejects that the user gave, or None.

    Raises:
        DatasetError: If the missing images alone are too many.
    """
    if len(keys) / num_images > allowed_fraction(num_images, given):
        accepting = sufficient_fraction(len(keys), num_images)
        raise contract.DatasetError(
            f"{len(keys)} of {wording.counted(num_images, 'image')} "
            f"{'is' if len(keys) == 1 else 'are'} missing, more than "
            f"{_limit_text(num_images, given)}: {', '.join(keys[:_NUM_NAMED])}"
            f"{', ...' if len(keys) > _NUM_NAMED else ''}; nothing in `output` was "
            "discarded; to accept the missing images: "
            f"`max_rejected_fraction={accepting}`"
        )


def rejected_lines(results: Iterable[ShardResult]) -> str:
    """Returns the text of `rejected.jsonl`: one image per line, sorted."""
    rejects = sorted(
        (contract.SPLITS.index(result.split), reject.key, result.split, reject)
        for result in results
        for reject in result.rejects
    )
    return "".join(
        json.dumps(
            {
                "split": split,
                "key": key,
                "reason": reject.reason,
                "detail": reject.detail,
            }
        )
        + "\n"
        for _, key, split, reject in rejects
    )


def _limit_text(num_images: int, given: float | None) -> str:
    if given is not None:
        return f"max_rejected_fraction={given:g} allows"
    # The product of two floats may be just below a whole number.
    number = int(round(allowed_fraction(num_images, None) * num_images, 6))
    return f"the {number} allowed by default"
