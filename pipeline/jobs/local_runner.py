"""Beam's local runner: in this process, or with worker processes from a nursery."""

import contextlib
import functools
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.pipeline_context import PipelineContext
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.worker import worker_pool_main
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from pipeline.jobs import worker

_LOOPBACK = "127.0.0.1"
_SERVING_MODULES: tuple[Any, ...] = (worker_handlers, worker_pool_main)

_ENVIRONMENT = "vaeline:environment:nursery:v1"


@contextlib.contextmanager
def make_runner(
    options: PipelineOptions,
    beam_args: Sequence[str],
    num_workers: int,
    num_images: int,
    nursery: worker.Nursery | None,
) -> Iterator[FnApiRunner]:
    """Yields the local runner, and completes its options.

    Worker processes repay the time of their start from about a thousand images on.
    Threads never help: most work around the decoding holds the interpreter's lock.

    Args:
        options: Beam's options, made from `beam_args`.
        beam_args: Beam's own flags.
        num_workers: Number of workers, unless a Beam flag sets another.
        num_images: Number of images to read.
        nursery: Nursery of worker processes; None to make one if it is needed.
    """
    direct = options.view_as(DirectOptions)
    is_small = num_images < worker.PROCESSES_FROM_IMAGES
    mode = direct.direct_running_mode
    if not _is_given("direct_running_mode", beam_args):
        mode = "in_memory" if is_small or num_workers == 1 else "multi_processing"
    if not _is_given("direct_num_workers", beam_args):
        direct.direct_num_workers = 1 if mode == "in_memory" else num_workers
    if mode != "multi_processing":
        direct.direct_running_mode = mode
        yield FnApiRunner()
        return
    # Any other mode would replace our environment.
    direct.direct_running_mode = "in_memory"
    with contextlib.ExitStack() as stack:
        if nursery is None:
            nursery = stack.enter_context(contextlib.closing(worker.Nursery()))
        worker_handlers.WorkerHandler.register_environment(_ENVIRONMENT, bytes)(
            functools.partial(_WorkerHandler, nursery)
        )
        yield FnApiRunner(_Environment.from_command_string(""))


@contextlib.contextmanager
def on_loopback() -> Iterator[None]:
    """Makes the servers that Beam starts for its workers listen on the loopback only.

    Beam listens on every address, has no option to change that, and gives work to any
    client. So the two Beam modules that serve a local run get another `grpc`.
    """
    for module in _SERVING_MODULES:
        module.grpc = _LoopbackGrpc
    try:
        yield
    finally:
        for module in _SERVING_MODULES:
            module.grpc = grpc


@contextlib.contextmanager
def without_lost_connections() -> Iterator[None]:
    """Hides threads' errors about lost connections, which the runner reports itself."""

    def show(thrown: threading.ExceptHookArgs) -> None:
        # gRPC says this about the channel to a job server that did not start.
        is_closed = "Channel closed" in str(thrown.exc_value)
        if not is_closed and not isinstance(thrown.exc_value, grpc.RpcError):
            before(thrown)

    before, threading.excepthook = threading.excepthook, show
    try:
        yield
    finally:
        threading.excepthook = before


class _LoopbackGrpc:
    """The part of `grpc` that `_SERVING_MODULES` use, with servers on the loopback."""

    @staticmethod
    def server(*args: Any, **kwargs: Any) -> grpc.Server:
        """Returns a server that listens on the loopback only."""
        server = grpc.server(*args, **kwargs)
        add_port = server.add_insecure_port
        server.add_insecure_port = lambda address: add_port(
            f"{_LOOPBACK}:{address.rpartition(':')[2]}"
        )
        return server


def _is_given(flag: str, beam_args: Sequence[str]) -> bool:
    return any(arg.split("=")[0] == f"--{flag}" for arg in beam_args)


class _Environment(
    SubprocessSDKEnvironment  # pyright: ignore[reportGeneralTypeIssues]
):
    """The environment that makes the runner use `_WorkerHandler`."""

    def to_runner_api_parameter(self, context: PipelineContext) -> tuple[str, bytes]:
        return _ENVIRONMENT, b""


class _WorkerHandler(worker_handlers.GrpcWorkerHandler):
    """Starts workers with the nursery, where Beam's handler would run a command."""

    def __init__(self, nursery: worker.Nursery, payload: bytes, *runner: Any) -> None:
        del payload
        super().__init__(*runner)
        self._nursery = nursery

    def host_from_worker(self) -> str:
        return _LOOPBACK

    def start_worker(self) -> None:
        self._nursery.start_worker(self.control_address, self.worker_id)

    def stop_worker(self) -> None:
        """Does nothing: a worker ends when the runner says that all work is done."""
