"""Serves a pool of Beam's Python workers to the task managers of this machine.

    python deploy/flink/worker_pool.py PORT

Anyone who reaches a pool can run code in it. This pool therefore listens only at the
loopback address; Beam's own `worker_pool_main` listens at every address.
"""

import concurrent.futures
import sys

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer


class WorkerPool(BeamFnExternalWorkerPoolServicer):
    """Starts a worker process whenever a task manager asks for one."""

    def StopWorker(  # noqa: N802
        self,
        stop_worker_request: beam_fn_api_pb2.StopWorkerRequest,
        unused_context: grpc.ServicerContext,
    ) -> beam_fn_api_pb2.StopWorkerResponse:
        """Stops nothing: a worker ends when its connection ends.

        Every task manager names its first worker 1-1. Stopping a worker by name could
        therefore kill the worker of another task manager.
        """
        return beam_fn_api_pb2.StopWorkerResponse()


def main(port: int) -> None:
    """Serves on a port of 127.0.0.1 until the process is killed."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor())
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(
        WorkerPool(use_process=True), server
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(int(sys.argv[1]))
