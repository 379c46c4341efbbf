"""Counters of a run: Beam metrics on the runner's web pages, and a summary line.

shards_made               shards that this run wrote
shards_kept               finished shards of earlier runs
images_read               images in the shards made, including rejected images
images_rejected_<reason>  rejected images in the shards made, by `squares.REASONS`
bytes_written             size in bytes of the shards made
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from apache_beam.metrics.metric import Metrics

from pipeline.dataset.shards import ShardResult
from pipeline.process import wording

NAMESPACE = "vaeline"

_REJECTED = "images_rejected_"


def count(results: Iterable[ShardResult], run_id: str) -> Counter[str]:
    """Returns the counters of shards, by name.

    Args:
        results: Results of the shards.
        run_id: Id of this run; shards of other runs count as kept.
    """
    counts: Counter[str] = Counter()
    for result in results:
        if result.run_id != run_id:
            counts["shards_kept"] += 1
            continue
        counts["shards_made"] += 1
        counts["images_read"] += result.info.num_examples + len(result.rejects)
        counts["bytes_written"] += result.info.num_bytes
        counts.update(_REJECTED + reject.reason for reject in result.rejects)
    return counts


def report(result: ShardResult, run_id: str) -> None:
    """Adds a shard to the Beam metrics of the calling step."""
    for name, number in count([result], run_id).items():
        Metrics.counter(NAMESPACE, name).inc(number)


def summary(counts: Mapping[str, int]) -> str:
    """Returns a one-line summary of a run.

    Example:
        >>> summary(Counter(shards_made=2, images_read=9, images_rejected_mode=1))
        'wrote 2 shards: 9 images read, rejected: 1 mode; 0 B written'
    """
    numbers = Counter(counts)
    rejected = {
        name.removeprefix(_REJECTED): number
        for name, number in sorted(numbers.items())
        if name.startswith(_REJECTED)
    }
    return (
        f"wrote {wording.counted(numbers['shards_made'], 'shard')}: "
        f"{wording.counted(numbers['images_read'], 'image')} read, "
        f"rejected: {rejects_text(rejected)}; "
        f"{wording.size(numbers['bytes_written'])} written"
    )


def rejects_text(rejected: Mapping[str, int]) -> str:
    """Returns the numbers of rejected images by reason, as text for a summary."""
    return ", ".join(f"{num} {reason}" for reason, num in rejected.items()) or "none"
