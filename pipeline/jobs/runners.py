"""Beam's side of the command line: flags, the choice of a runner, and errors."""

import argparse
import contextlib
import difflib
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
import grpc
from absl import flags
from apache_beam.options.pipeline_options import (
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.runner import PipelineRunner, create_runner

from pipeline import contract
from pipeline.jobs import ipython, job_servers, local_runner
from pipeline.jobs.worker import Nursery
from pipeline.process import limits

LOCAL_RUNNER = "FnApiRunner"

# Beam starts Prism itself, and ends Prism's job after --job_server_timeout.
_LONGEST_JOB_SECONDS = 30 * 24 * 3600

# Remedies for a runner that does not start.
_REMEDIES = {
    "DataflowRunner": "correct Dataflow's flags, such as --project, --region and "
    "--temp_location, and log in to Google Cloud",
    "FlinkRunner": "give --job_endpoint=HOST:PORT of a job server, or install Java and "
    "give --flink_job_server_jar=FILE",
    "KafkaStreamsRunner": "give --job_endpoint=HOST:PORT of a job server, or install "
    "Java and give --kafka_streams_job_server_jar=FILE",
    "PrismRunner": "give --prism_location=FILE, where FILE is Prism's binary or a zip "
    "with it, or --job_endpoint=HOST:PORT of a running Prism",
    "SparkRunner": "give --job_endpoint=HOST:PORT of a job server, or install Java and "
    "give --spark_job_server_jar=FILE",
}


def check_flags(beam_args: Sequence[str]) -> None:
    """Checks Beam's part of a command line.

    Args:
        beam_args: Flags that are not ours.

    Raises:
        flags.Error: If a flag has a wrong value, or is neither ours nor Beam's; the
            text suggests the nearest name.
    """
    parser = _BeamParser()
    try:
        _, unknown = parser.parse_known_args(beam_args)
    except argparse.ArgumentError as error:
        # The name of an argument is its spellings, such as `--output/-o`.
        raise flags.Error(f"{error.argument_name}: {error.message}") from error
    if unknown and not unknown[0].startswith("-"):
        raise flags.Error(f"unexpected {unknown[0]}: give each value as --FLAG=VALUE")
    if unknown:
        name = unknown[0].split("=")[0]
        known = [f"--{flag}" for flag in flags.FLAGS]
        known += parser.option_strings
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f": did you mean {nearest[0]}?" if nearest else ""
        raise flags.Error(f"unknown flag {name}{hint}")
    runner = _make_runner(beam_args)
    options = PipelineOptions(beam_args)
    missing = job_servers.missing_flags(runner, options)
    if missing:
        raise flags.Error(
            f"--runner={type(runner).__name__} needs {', '.join(missing)}"
        )
    # Beam itself checks only later. The check for Dataflow would ask Google Cloud.
    if not isinstance(runner, DataflowRunner):
        wrong = PipelineOptionsValidator(options, runner).validate()
        if wrong:
            raise flags.Error(f"--runner={type(runner).__name__}: {' '.join(wrong)}")


def _make_runner(beam_args: Sequence[str]) -> PipelineRunner:
    """Makes the runner that Beam's flags name; by default the local runner.

    Raises:
        flags.Error: If no runner has this name, or a package that it needs is missing.
    """
    options = PipelineOptions(list(beam_args))
    name = options.view_as(StandardOptions).runner or LOCAL_RUNNER
    try:
        runner = create_runner(name)
    # The name may import any module, which may raise anything.
    except Exception as error:
        raise flags.Error(f"--runner={name}: {error}") from error
    if not isinstance(runner, PipelineRunner):
        raise flags.Error(f"--runner={name} is not a Beam runner")
    return runner


def runner_name(beam_args: Sequence[str]) -> str:
    """Returns the name of the runner that `_make_runner` makes, as Beam spells it.

    Raises:
        flags.Error: If no runner has this name, or a package that it needs is missing.
    """
    return type(_make_runner(beam_args)).__name__


def is_distributed(name: str) -> bool:
    """Returns whether a runner's workers may be on other machines."""
    return name not in StandardOptions.LOCAL_RUNNERS


def is_detached(beam_args: Sequence[str]) -> bool:
    """Returns whether the job goes on without its launcher, according to Beam's flags.

    A job is detached with `--no_wait_until_finish`, or if it becomes a template, as the
    launcher of a flex template requests.
    """
    options = PipelineOptions(list(beam_args)).get_all_options()
    leaves = options["no_wait_until_finish"] or options["template_location"]
    return bool(leaves) and is_distributed(runner_name(beam_args))


def run_graph(
    build: Callable[[beam.Pipeline], None],
    beam_args: Sequence[str],
    *,
    num_workers: int,
    num_images: int,
    nursery: Nursery | None = None,
) -> None:
    """Builds a graph and runs it to its end; a detached job is only submitted.

    Args:
        build: Function that adds the graph to a pipeline.
        beam_args: Beam's own flags.
        num_workers: Number of local workers, unless a Beam flag sets another.
        num_images: Number of images to read, which decides the local runner's mode.
        nursery: Nursery of worker processes; None to make one if it is needed.

    Raises:
        DatasetError: If a worker raised one (only its text is kept), a worker was
            killed, or a runner other than the local one does not finish the job.
        RuntimeError: If anything else failed in the local runner; the text has the
            worker's traceback.
    """
    options = PipelineOptions(list(beam_args))
    portable = options.view_as(PortableOptions)
    beam_runner = _make_runner(beam_args)
    name = type(beam_runner).__name__
    chosen = contextlib.nullcontext(beam_runner)
    if name == LOCAL_RUNNER:
        chosen = local_runner.make_runner(
            options, beam_args, num_workers, num_images, nursery
        )
    else:
        job_servers.check(beam_runner, options)
    if name != LOCAL_RUNNER and not is_distributed(name):
        portable.job_server_timeout = _LONGEST_JOB_SECONDS
    # Beam would log the traceback that the exception contains.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    pipeline = None
    try:
        with (
            local_runner.on_loopback(),
            local_runner.without_lost_connections(),
            ipython.is_hidden(),
            chosen as runner,
            beam.Pipeline(runner=runner, options=options) as pipeline,
        ):
            build(pipeline)
    except KeyboardInterrupt:
        if pipeline is not None and hasattr(pipeline, "result"):
            # Cancel the job, because it would continue on a cluster.
            pipeline.result.cancel()
        raise
    # Beam, gRPC and cloud clients raise errors of their own classes.
    except Exception as error:
        is_submitted = hasattr(pipeline, "result")
        text = _explain(error, name, is_submitted=is_submitted)
        if text is None:
            raise
        raise contract.DatasetError(text) from error


def _explain(error: Exception, name: str, *, is_submitted: bool) -> str | None:
    """Returns one line on why a job failed, or None for an error in our code."""
    if limits.is_out_of_files(error):
        return limits.out_of_files_text(error)
    text = dataset_error_text(error)
    if text is not None:
        return text
    if "Channel closed prematurely" in str(error):
        return (
            "a worker process was killed, perhaps because memory was short: make the "
            "same call again, with fewer `num_workers`; it keeps the finished shards"
        )
    if not is_distributed(name) and name != "PrismRunner":
        return None
    text = contract.without_credentials(str(error))
    logging.getLogger("absl").debug("%s", text)
    reason = job_servers.in_one_line(error)
    if not is_submitted:
        remedy = _REMEDIES.get(name, "correct the flags of this runner")
        return f"--runner={name} does not start the job ({reason}): {remedy}"
    if isinstance(error, grpc.RpcError):
        return (
            "the job server stopped answering: see its log, and make the same call "
            "again; it keeps the finished shards"
        )
    return (
        f"the job failed on --runner={name} ({reason}): see the log of the runner, and "
        "make the same call again; it keeps the finished shards"
    )


def dataset_error_text(error: BaseException) -> str | None:
    """Returns the text of a worker's `DatasetError`, or None for any other error.

    Beam passes a worker's exception on as the text of its traceback, with the step
    appended. Some runners escape its line breaks.

    Example:
        >>> text = "pipeline.contract.DatasetError: disk full [while running 'A-7']"
        >>> dataset_error_text(RuntimeError(text))
        'disk full'
    """
    text = str(error)
    if isinstance(error, contract.DatasetError):
        text = f"DatasetError: {text}"
    texts = re.findall(r"DatasetError: (.+?)(?: \[while running|\\n|\n|$)", text)
    return texts[-1] if texts else None


class _BeamParser(argparse.ArgumentParser):
    """A parser that knows the flags of all of Beam's runners."""

    def __init__(self) -> None:
        super().__init__(allow_abbrev=False, add_help=False, exit_on_error=False)
        self.option_strings: list[str] = []
        for options in PipelineOptions.__subclasses__():
            options._add_argparse_args(self)  # pyright: ignore[reportArgumentType]

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        action = super().add_argument(*args, **kwargs)
        self.option_strings += action.option_strings
        return action

    def add_value_provider_argument(self, *args: Any, **kwargs: Any) -> None:
        self.add_argument(*args, **kwargs)
