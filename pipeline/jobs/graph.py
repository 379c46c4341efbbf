"""The Beam graph: one linear chain, whose elements are names or results of shards.

The first step discards a dataset to be overwritten, because by then the runner has
accepted the job and a worker has started. The last step publishes the dataset, so the
job completes even if its launcher has left.

Neither images nor plans are elements, so the graph is small for any number of images.
CelebA's plans take 24 MB, which Beam would compress for seconds in every process.
Jobs for images and for latents differ only in the step that makes a shard;
`pipeline.latents.latent_shards` has the step for latents.
"""

from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam

from pipeline.dataset import output_directory, shards
from pipeline.dataset.publishing import Publication, publish
from pipeline.jobs import counters
from pipeline.planning import plan_files
from pipeline.planning.dataset_settings import Settings
from pipeline.process import limits
from pipeline.sources import Reader
from pipeline.storage import buckets


def build_graph(
    pipeline: beam.Pipeline,
    output: output_directory.LockedOutput,
    make_shard: beam.DoFn,
    publication: Publication,
    beam_args: Sequence[str] = (),
) -> None:
    """Adds the whole job to a pipeline.

    Args:
        pipeline: An empty Beam pipeline.
        output: The directory of the dataset.
        make_shard: Step that turns the name of a shard into a `ShardResult`.
        publication: Description of the dataset, with its planned shards.
        beam_args: Beam's own flags, which say how to reach buckets.
    """
    _ = (
        pipeline
        | "Start" >> beam.Impulse()  # bytes, empty
        | "BeginOutput"
        >> beam.ParDo(BeginOutput(output, publication, beam_args))  # str, a name
        | "SpreadNames" >> beam.Reshuffle()  # str, a shard's name
        | "MakeShards" >> beam.ParDo(make_shard)  # ShardResult
        | "KeyByDataset" >> beam.WithKeys(publication.name)  # (str, ShardResult)
        | "GatherResults" >> beam.GroupByKey()  # (str, Iterable[ShardResult])
        | "Publish"
        >> beam.ParDo(Publish(publication, beam_args))  # str, the dataset digest
    )


class Step(beam.DoFn):
    """A step of the graph, in a process that another program may have started."""

    def __init__(self, beam_args: Sequence[str]) -> None:
        """Keeps the flags that say how to reach buckets.

        Args:
            beam_args: Beam's own flags.
        """
        self._beam_args = tuple(beam_args)

    def setup(self) -> None:
        """Prepares the process and its access to buckets.

        Not every runner passes the flags for buckets to its workers.
        """
        limits.prepare()
        buckets.configure(self._beam_args)


class BeginOutput(Step):
    """Prepares the output directory, then yields the names of the shards."""

    def __init__(
        self,
        output: output_directory.LockedOutput,
        publication: Publication,
        beam_args: Sequence[str],
    ) -> None:
        """Keeps the directory and the names of the planned shards."""
        super().__init__(beam_args)
        self._output = output
        self._names = [x for split in publication.shard_names.values() for x in split]

    def process(self, element: bytes) -> Iterator[str]:
        """Yields the name of every shard."""
        self._output.begin(self._names)
        yield from self._names


class MakeShard(Step):
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
            publication: Description of the dataset, with its planned shards.
            settings: Settings of the images.
            reader: Reader of the source.
            run_id: Id of this run, in the names of its plans and in the sidecars that
                it writes.
            beam_args: Beam's own flags, which say how to reach buckets.
        """
        super().__init__(beam_args)
        self._settings = settings
        self._reader = reader
        self._output = publication.output
        self._run_id = run_id
        self._stats_features = publication.features if publication.with_stats else None

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


class Publish(Step):
    """Turns the results of all shards into a published dataset."""

    def __init__(self, publication: Publication, beam_args: Sequence[str]) -> None:
        """Keeps the planned dataset."""
        super().__init__(beam_args)
        self._publication = publication

    def process(
        self, element: tuple[str, Iterable[shards.ShardResult]]
    ) -> Iterator[str]:
        """Yields the dataset digest."""
        _, results = element
        yield publish(self._publication, results)
