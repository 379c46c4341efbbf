"""The Beam graph: one linear chain, with a shard's plan or result as its element.

No image is ever an element. The last step publishes, so that the job completes on a
runner whose launcher does not stay.
"""

from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam

from pipeline import shards
from pipeline.plan import Settings, ShardPlan
from pipeline.publish import Publication, publish
from pipeline.sources import Reader


def build_graph(
    pipeline: beam.Pipeline,
    plans: Sequence[ShardPlan],
    reader: Reader,
    publication: Publication,
    run_id: str,
) -> None:
    """Adds the whole job to a pipeline.

    Args:
        pipeline: An empty Beam pipeline.
        plans: Of every shard.
        reader: Of the source.
        publication: Of the dataset that the shards make.
        run_id: Marks the shards that this run writes.
    """
    make_shard = MakeShard(publication.settings, reader, publication.output, run_id)
    _ = (
        pipeline
        | "CreatePlans" >> beam.Create(plans)  # ShardPlan
        | "SpreadPlans" >> beam.Reshuffle()  # ShardPlan, over the workers
        | "MakeShards" >> beam.ParDo(make_shard)  # ShardResult
        | "KeyByDataset" >> beam.WithKeys(publication.name)  # (str, ShardResult)
        | "GatherResults" >> beam.GroupByKey()  # (str, Iterable[ShardResult])
        | "Publish" >> beam.ParDo(Publish(publication))  # str, the dataset digest
    )


class MakeShard(beam.DoFn):
    """Turns the plan of a shard into a file and its result."""

    def __init__(
        self, settings: Settings, reader: Reader, output: str, run_id: str
    ) -> None:
        """Keeps what all shards have in common."""
        self._settings = settings
        self._reader = reader
        self._output = output
        self._run_id = run_id

    def process(self, element: ShardPlan) -> Iterator[shards.ShardResult]:
        """Yields the result of one shard, kept or written."""
        yield shards.make_shard(
            element, self._settings, self._reader, self._output, self._run_id
        )


class Publish(beam.DoFn):
    """Turns the results of all shards into a published dataset."""

    def __init__(self, publication: Publication) -> None:
        """Keeps what was planned."""
        self._publication = publication

    def process(
        self, element: tuple[str, Iterable[shards.ShardResult]]
    ) -> Iterator[str]:
        """Yields the dataset digest."""
        _, results = element
        yield publish(self._publication, results)
