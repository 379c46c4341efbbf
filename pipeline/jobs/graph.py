"""The Beam graph: one linear chain, whose elements are names or results of shards.

Neither images nor plans are elements. So the graph is small for any number of images.
Beam would compress plans for seconds in every process: for CelebA they take 24 MB. The
last step publishes the dataset, so the job completes even if its launcher has left.
Shards of images and of latents differ in one step; `pipeline.latents.latent_shards` has
the step of latents.
"""

from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam

from pipeline.dataset import shards
from pipeline.dataset.publishing import Publication, publish
from pipeline.jobs import counters
from pipeline.planning import plan_files
from pipeline.planning.dataset_settings import Settings
from pipeline.process import limits
from pipeline.sources import Reader
from pipeline.storage import buckets


def build_graph(
    pipeline: beam.Pipeline,
    shard_names: Sequence[str],
    make_shard: beam.DoFn,
    publication: Publication,
    beam_args: Sequence[str] = (),
) -> None:
    """Adds the whole job to a pipeline.

    Args:
        pipeline: An empty Beam pipeline.
        shard_names: Names of all shards.
        make_shard: Step from the name of a shard to a `ShardResult`.
        publication: The dataset that the shards make.
        beam_args: Beam's own flags, which say how to reach buckets.
    """
    _ = (
        pipeline
        | "CreateNames" >> beam.Create(shard_names)  # str, a shard's name
        | "SpreadNames" >> beam.Reshuffle()  # str, a shard's name
        | "MakeShards" >> beam.ParDo(make_shard)  # ShardResult
        | "KeyByDataset" >> beam.WithKeys(publication.name)  # (str, ShardResult)
        | "GatherResults" >> beam.GroupByKey()  # (str, Iterable[ShardResult])
        | "Publish"
        >> beam.ParDo(Publish(publication, beam_args))  # str, the dataset digest
    )


class MakeShard(beam.DoFn):
    """Turns a planned shard into a file and its result."""

    def __init__(
        self,
        publication: Publication,
        settings: Settings,
        reader: Reader,
        run_id: str,
        beam_args: Sequence[str],
    ) -> None:
        """Keeps the values that all shards share.

        Args:
            publication: The dataset that the shards make.
            settings: Settings of the images.
            reader: Reader of the source.
            run_id: Id of this run, in the plans saved in the output directory and in
                the shards that this run writes.
            beam_args: Beam's own flags, which say how to reach buckets.
        """
        self._beam_args = tuple(beam_args)
        self._settings = settings
        self._reader = reader
        self._output = publication.output
        self._run_id = run_id
        self._stats_features = publication.features if publication.with_stats else None

    def setup(self) -> None:
        """Prepares this process, which another program may have started.

        It also sets up access to buckets, because not every runner passes their flags
        on.
        """
        limits.prepare()
        buckets.configure(self._beam_args)

    def process(self, element: str) -> Iterator[shards.ShardResult]:
        """Yields the result of the named shard, which is kept or written."""
        plan = plan_files.load_plan(self._output, element, self._run_id)
        result = shards.make_shard(
            plan,
            self._settings,
            self._reader,
            self._output,
            self._run_id,
            self._stats_features,
        )
        counters.report(result, self._run_id)
        yield result


class Publish(beam.DoFn):
    """Turns the results of all shards into a published dataset."""

    def __init__(self, publication: Publication, beam_args: Sequence[str]) -> None:
        """Keeps the planned dataset."""
        self._publication = publication
        self._beam_args = tuple(beam_args)

    def setup(self) -> None:
        """Prepares this process; see `MakeShard.setup`."""
        limits.prepare()
        buckets.configure(self._beam_args)

    def process(
        self, element: tuple[str, Iterable[shards.ShardResult]]
    ) -> Iterator[str]:
        """Yields the dataset digest."""
        _, results = element
        yield publish(self._publication, results)
