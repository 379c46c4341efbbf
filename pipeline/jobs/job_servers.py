"""Checks that the servers named by a runner's flags answer.

Without these checks, Beam would wait for minutes and end with a traceback.
"""

import contextlib
import http.client
import re
import socket
import urllib.error
import urllib.parse
import urllib.request

import grpc
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    SparkRunnerOptions,
)
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import PipelineRunner

from pipeline import contract

_ANSWER_SECONDS = 15.0
_MOST_CHARACTERS = 400


def missing_flags(runner: PipelineRunner, options: PipelineOptions) -> list[str]:
    """Returns the flags that a runner requires and that are not given."""
    cloud = options.view_as(GoogleCloudOptions)
    is_in_bucket = (cloud.temp_location or "").startswith("gs://")
    needed: dict[str, object] = {}
    if isinstance(runner, DataflowRunner):
        needed = {
            "--project=NAME": cloud.project,
            "--region=NAME": cloud.region,
            "--temp_location=gs://BUCKET/PATH": is_in_bucket,
        }
    elif type(runner) is PortableRunner:
        needed = {"--job_endpoint=HOST:PORT": endpoint_of(options)}
    return [flag for flag, value in needed.items() if not value]


def check(runner: PipelineRunner, options: PipelineOptions) -> None:
    """Checks that the servers named by flags answer.

    Raises:
        DatasetError: If a server does not answer.
    """
    if isinstance(runner, DataflowRunner):
        # Google's clients would try for two minutes.
        _check_google()
    if not isinstance(runner, PortableRunner):
        return
    name, endpoint = type(runner).__name__, endpoint_of(options)
    if endpoint:
        if endpoint != "embed":
            _check_job_server(endpoint)
        return
    flag, url = "", ""
    if name == "FlinkRunner":
        flag, url = "flink_master", options.view_as(FlinkRunnerOptions).flink_master
    elif name == "SparkRunner":
        spark = options.view_as(SparkRunnerOptions)
        flag, url = "spark_master_url", spark.spark_master_url
        if spark.spark_submit_uber_jar:
            flag, url = "spark_rest_url", spark.spark_rest_url or ""
    # Other values, such as [auto], [local] and local[4], name no server.
    if re.search(r"[.:]|^\w+$", url) and url not in ("local", "yarn"):
        _check_server(flag, url)


def endpoint_of(options: PipelineOptions) -> str | None:
    """Returns the address of a job server that the flags give, or None."""
    return options.view_as(PortableOptions).job_endpoint


def _check_job_server(endpoint: str) -> None:
    """Checks that a job server answers Beam's first request within the time limit.

    Raises:
        DatasetError: If the job server does not answer.
    """
    with grpc.insecure_channel(endpoint) as channel:
        stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
        try:
            stub.DescribePipelineOptions(
                beam_job_api_pb2.DescribePipelineOptionsRequest(),
                timeout=_ANSWER_SECONDS,
                wait_for_ready=True,
            )
        except grpc.RpcError as error:
            reason = error.code().name  # pyright: ignore[reportAttributeAccessIssue]
            raise contract.DatasetError(
                f"--job_endpoint={endpoint}: no job server answers ({reason}): start "
                "the server, or correct the flag"
            ) from error


def _check_server(flag: str, url: str) -> None:
    """Checks that a master answers, by HTTP if that is its protocol.

    Raises:
        DatasetError: If the master does not answer.
    """
    scheme, _, address = url.rpartition("://")
    scheme = scheme or "http"
    try:
        if scheme in ("http", "https"):
            _ask(f"{scheme}://{address}")
        else:
            parsed = urllib.parse.urlsplit(f"//{address}")
            place = parsed.hostname or "", parsed.port or 0
            socket.create_connection(place, timeout=_ANSWER_SECONDS).close()
    # ValueError: the port is not a number.
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise contract.DatasetError(
            f"--{flag}={url}: no server answers ({in_one_line(error)}): start the "
            "server, or correct the flag"
        ) from error


def _check_google() -> None:
    try:
        _ask("https://storage.googleapis.com")
    except OSError as error:
        raise contract.DatasetError(
            f"--runner=DataflowRunner: Google Cloud does not answer "
            f"({in_one_line(error)}): connect this machine, or choose another --runner"
        ) from error


def _ask(url: str) -> None:
    """Waits for any answer of an HTTP server."""
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(url, timeout=_ANSWER_SECONDS).close()


def in_one_line(error: Exception) -> str:
    """Returns the kind of an error and the beginning of its text.

    If the text holds tracebacks, the last error in them is taken.
    """
    if isinstance(error, grpc.RpcError) and isinstance(error, grpc.Call):
        text = f"{error.code().name}: {error.details()}"
    else:
        # The text of a URLError is the representation of its cause.
        reason = getattr(error, "reason", None)
        error = reason if isinstance(reason, Exception) else error
        text = f"{type(error).__name__}: {error}"
        if "Traceback (most recent call last)" in text:
            errors = re.findall(r"^[\w.]*(?:Error|Exception)\b.*", text, re.MULTILINE)
            text = errors[-1] if errors else text
    text = " ".join(text.split())
    is_long = len(text) > _MOST_CHARACTERS
    return f"{text[:_MOST_CHARACTERS]} ..." if is_long else text
