"""Beam's side of the command line: its flags, the choice of a runner, its errors."""

import argparse
import contextlib
import difflib
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
import grpc
from absl import flags
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.runners.runner import create_runner

from pipeline import contract, local_runner
from pipeline.worker import Nursery

LOCAL_RUNNER = "FnApiRunner"

# Beam ends a job of Prism, which it starts, after --job_server_timeout.
_LONGEST_JOB_SECONDS = 30 * 24 * 3600

# These run beside the launcher, and so see its disk.
_LOCAL_RUNNERS = (
    LOCAL_RUNNER,
    "DirectRunner",
    "PrismRunner",
    "BundleBasedDirectRunner",
)


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line, or ends the program with one line on what is wrong.

    Args:
        argv: The program name, our flags, and Beam's.

    Returns:
        The program name and Beam's flags.
    """
    try:
        return split_flags(argv)
    except flags.Error as error:
        sys.exit(f"error: {error} (--help shows all flags)")


def split_flags(argv: Sequence[str]) -> list[str]:
    """Parses our flags with absl, and returns the program name and Beam's flags.

    Raises:
        flags.Error: If a flag has a wrong value, or is neither ours nor Beam's; the
            nearest is named.
    """
    # Else the first value without a flag, as in `--runner FlinkRunner`, ends it.
    flags.FLAGS.set_gnu_getopt(True)
    program, *beam_args = flags.FLAGS(list(argv), known_only=True)
    parser = _BeamParser()
    try:
        _, unknown = parser.parse_known_args(beam_args)
    except argparse.ArgumentError as error:
        raise flags.Error(str(error)) from error
    if unknown:
        name = unknown[0].split("=")[0]
        known = [f"--{flag}" for flag in flags.FLAGS]
        known += parser.option_strings
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f": did you mean {nearest[0]}?" if nearest else ""
        raise flags.Error(f"unknown flag {name}{hint}")
    try:
        create_runner(runner_name(beam_args))
    except (ValueError, ImportError, AttributeError) as error:
        raise flags.Error(f"--runner: {error}") from error
    return [program, *beam_args]


def runner_name(beam_args: Sequence[str]) -> str:
    """Returns the runner that Beam's flags name, or the local one."""
    options = PipelineOptions(list(beam_args)).get_all_options()
    return (options["runner"] or LOCAL_RUNNER).rsplit(".", maxsplit=1)[-1]


def is_distributed(name: str) -> bool:
    """Returns whether the workers of a runner may be on other machines."""
    return name not in _LOCAL_RUNNERS


def is_detached(beam_args: Sequence[str]) -> bool:
    """Returns whether Beam's flags have the job go on without its launcher.

    So it is with `--no_wait_until_finish`, and where a template is made of the job, as
    the launcher of a flex template asks for.
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
    """Builds a graph and runs it to its end, or hands it over if it is detached.

    Args:
        build: Adds the graph to a pipeline.
        beam_args: Beam's own flags.
        num_workers: Of the local runner, if no Beam flag says otherwise.
        num_images: To be read, by which the local runner's mode is chosen.
        nursery: Of its workers; else one is made, if it is needed.

    Raises:
        DatasetError: If a worker raised it, with its text alone; a worker was killed;
            or the job server is out of reach.
        RuntimeError: If anything else failed; the text has the worker's traceback.
    """
    options = PipelineOptions(list(beam_args))
    portable = options.view_as(PortableOptions)
    name = runner_name(beam_args)
    local = contextlib.nullcontext()
    if name == LOCAL_RUNNER:
        local = local_runner.make_runner(
            options, beam_args, num_workers, num_images, nursery
        )
    elif not is_distributed(name):
        portable.job_server_timeout = _LONGEST_JOB_SECONDS
    # The exception has the traceback too.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    pipeline = None
    try:
        with (
            local_runner.on_loopback(),
            local as runner,
            beam.Pipeline(runner=runner, options=options) as pipeline,
        ):
            build(pipeline)
    except KeyboardInterrupt:
        if pipeline is not None and hasattr(pipeline, "result"):
            # On a cluster the job would go on.
            pipeline.result.cancel()
        raise
    except (contract.DatasetError, RuntimeError) as error:
        text = dataset_error_text(error)
        if text is None and "Channel closed prematurely" in str(error):
            text = (
                "a worker process was killed, perhaps because memory was short: run "
                "the same command again, with fewer --num_workers; it keeps the "
                "finished shards"
            )
        if text is None:
            raise
        raise contract.DatasetError(text) from error
    except grpc.FutureTimeoutError as error:
        raise contract.DatasetError(
            f"no job server answers at {portable.job_endpoint}: start it, or correct "
            "--job_endpoint"
        ) from error
    except grpc.RpcError as error:
        raise contract.DatasetError(
            "the job server is gone: see its log, and run the same command again; it "
            "keeps the finished shards"
        ) from error


def dataset_error_text(error: BaseException) -> str | None:
    """Returns the text of the `DatasetError` that a worker raised, if it was one.

    Beam brings a worker's exception as the text of its traceback, with the step
    appended, and some runners escape its line breaks.

    Example:
        >>> text = "pipeline.contract.DatasetError: disk full [while running 'A-7']"
        >>> dataset_error_text(RuntimeError(text))
        'disk full'
    """
    text = str(error)
    if isinstance(error, contract.DatasetError):
        text = f"DatasetError: {text}"
    found = re.findall(r"DatasetError: (.+?)(?: \[while running|\\n|\n|$)", text)
    return found[-1] if found else None


def num_cores() -> int:
    """Returns the cores that this process may use."""
    # Not every system can say which cores are this process's own.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _BeamParser(argparse.ArgumentParser):
    """Knows the names of Beam's flags, of all runners."""

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
