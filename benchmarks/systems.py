"""The systems that benchmarks/builders.py compares: ways to build a dataset."""

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
        command: Program and its first arguments.
        input_flag: `input` for CelebA's layout, `files` for single files.
        flags: Further flags.
        is_cluster: Whether the system needs the Flink cluster.
    """

    command: tuple[str, ...]
    input_flag: str
    flags: tuple[str, ...] = ()
    is_cluster: bool = False


def by_name(num_workers: int) -> dict[str, System]:
    """Returns all systems by name."""
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
    """Returns environment variables of a cluster with its files in `state`."""
    return {
        "VAELINE_FLINK_STATE": state,
        "VAELINE_FLINK_TASK_MANAGERS": str(num_workers),
        "VAELINE_PYTHON": sys.executable,
    }


@contextlib.contextmanager
def flink_cluster(environ: Mapping[str, str]) -> Iterator[list[int]]:
    """Starts a cluster for the block; yields IDs of the processes of its services."""
    try:
        subprocess.run([_FLINK, "up"], env=environ, check=True)
        state = pathlib.Path(environ["VAELINE_FLINK_STATE"])
        yield [int(path.read_text()) for path in state.glob("*.keeper")]
    finally:
        subprocess.run([_FLINK, "down"], env=environ, check=True)
