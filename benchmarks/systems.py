"""The ways to build a dataset that benchmarks/builders.py compares."""

import contextlib
import dataclasses
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Mapping

_FLINK = str(pathlib.Path(__file__).parents[1] / "deploy/flink/local.sh")


@dataclasses.dataclass(frozen=True)
class System:
    """A way to build a dataset.

    Attributes:
        command: Its program and first arguments.
        input_flag: `input` if it reads CelebA's layout, `files` if single files.
        flags: Other flags.
        is_cluster: Whether it needs the Flink cluster.
    """

    command: tuple[str, ...]
    input_flag: str
    flags: tuple[str, ...] = ()
    is_cluster: bool = False


def by_name(num_workers: int) -> dict[str, System]:
    """Returns all systems."""
    python = (sys.executable, "-m")
    ours = (*python, "pipeline.prepare")
    tfds = (*python, "benchmarks.peers.tfds_builder")
    plain = (*python, "benchmarks.peers.plain_graph")
    workers = f"--num_workers={num_workers}"
    processes = "--direct_running_mode=multi_processing"
    return {
        "ours": System(ours, "input", (workers,)),
        "ours_parallel": System(ours, "input", (workers, processes)),
        "ours_flink": System((_FLINK, "run"), "input", is_cluster=True),
        "tfds": System(tfds, "files"),
        "tfds_parallel": System(tfds, "files", (workers,)),
        "plain": System(plain, "files"),
        "plain_parallel": System(plain, "files", (workers,)),
    }


def cluster_environ(state: str, num_workers: int) -> dict[str, str]:
    """Returns the variables of a cluster that keeps its files in `state`."""
    return {
        "VAELINE_FLINK_STATE": state,
        "VAELINE_FLINK_TASK_MANAGERS": str(num_workers),
        "VAELINE_PYTHON": sys.executable,
    }


@contextlib.contextmanager
def flink_cluster(environ: Mapping[str, str]) -> Iterator[list[int]]:
    """Has a cluster up, and gives the processes that keep its services."""
    try:
        subprocess.run([_FLINK, "up"], env=environ, check=True)
        state = pathlib.Path(environ["VAELINE_FLINK_STATE"])
        yield [int(path.read_text()) for path in state.glob("*.keeper")]
    finally:
        subprocess.run([_FLINK, "down"], env=environ, check=True)
