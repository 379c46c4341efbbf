"""A Flink cluster on three hosts in a network of their own; one host is cut off.

tests/chaos/test_links.py tests trainers in such a network.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline import contract, verify
from pipeline.planning.dataset_settings import Settings
from tests import network, preloaded
from tests.deploy.manifests import DEPLOY
from tests.pipeline import calls
from tests.pipeline.commands import children, num_finished, send, wait_until

pytestmark = pytest.mark.slow

SCRIPT = f"{DEPLOY}/flink/local.sh"
PORTS = {"RPC": "6123", "REST": "8081", "JOB": "8099", "POOL": "50000"}
SETTINGS = Settings(image_size=32, shard_size=4)
FLAGS = ("--image_size=32", "--shard_size=4")


def test_nothing_is_left_of_a_network():
    with network.hosts(2) as hosts:
        program = [*hosts[0].prefix, "sh", "-c", "echo there; exec sleep 1000"]
        sleep = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
        with sleep.stdout:
            assert sleep.stdout.readline() == "there\n"
    assert sleep.wait(timeout=60) == -signal.SIGKILL
    for host in hosts:
        assert not pathlib.Path("/run/netns", host.namespace).exists()


class Cluster:
    """`local.sh` on every host: the job manager on the first, workers on the others."""

    def __init__(self, hosts: list[network.Host], directory: pathlib.Path) -> None:
        self._hosts = hosts
        self._states = [directory / host.address for host in hosts]

    def start(self, index: int, *arguments: str) -> subprocess.Popen[str]:
        """Starts `local.sh` on a host."""
        environ = {f"VAELINE_FLINK_{name}_PORT": port for name, port in PORTS.items()}
        environ |= {
            "VAELINE_FLINK_ADDRESS": self._hosts[index].address,
            "VAELINE_FLINK_JOB_MANAGER": self._hosts[0].address,
            "VAELINE_FLINK_TASK_MANAGERS": "1" if index else "0",
            "VAELINE_FLINK_STATE": str(self._states[index]),
            "VAELINE_PYTHON": preloaded.shared_python(),
        }
        return subprocess.Popen(
            [*self._hosts[index].prefix, SCRIPT, *arguments],
            env=os.environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def everywhere(self, verb: str) -> None:
        """Runs `local.sh` on all hosts at once, and waits for them."""
        started = [self.start(index, verb) for index in range(len(self._hosts))]
        for process in started:
            _, stderr = process.communicate(timeout=200)
            assert process.returncode == 0, stderr

    def workers(self, index: int) -> list[int]:
        """Returns the process ids of a host's Python workers."""
        return children(int((self._states[index] / "worker-pool.pid").read_text()))

    def get(self, path: str) -> Any:
        """Returns the answer of Flink's REST API on the first host."""
        url = f"http://{self._hosts[0].address}:{PORTS['REST']}/{path}"
        program = [*self._hosts[0].prefix, "curl", "--silent", "--fail", url]
        return json.loads(subprocess.check_output(program))


@pytest.fixture
def cluster(tmp_path: pathlib.Path) -> Iterator[tuple[Cluster, list[network.Host]]]:
    if shutil.which("java") is None:
        pytest.skip("Flink needs Java: apt-get install default-jre-headless")
    # Download the jars here, because these hosts reach no other network.
    subprocess.run([SCRIPT, "job-server", tmp_path / "job-server.jar"], check=True)
    with network.hosts(3) as hosts, contextlib.ExitStack() as stack:
        actual = Cluster(hosts, tmp_path)
        stack.callback(actual.everywhere, "down")
        actual.everywhere("up")
        yield actual, hosts


@pytest.mark.flink
def test_a_job_goes_on_without_a_host_that_is_cut_off(cluster, tmp_path):
    flink, hosts = cluster
    faces, output = tmp_path / "faces", tmp_path / "out"
    program = [preloaded.shared_python(), "-m", "pipeline.synthesize"]
    subprocess.run([*program, f"--output={faces}", "--num_images=400"], check=True)
    local = calls.prepare(
        SETTINGS, input_dir=str(faces), output=str(tmp_path / "local")
    )
    flags = (f"--input={faces}", f"--output={output}", "--parallelism=2", *FLAGS)
    job = flink.start(0, "run", *flags)
    wait_until(lambda: num_finished(output) >= 10 or job.poll() is not None, 120)
    assert job.poll() is None, job.communicate()
    hosts[2].cut()
    cut_at = time.time()
    # A cut host would lose its network disk, too. All hosts here share one disk, so the
    # workers are stopped instead.
    workers = flink.workers(2)
    assert workers
    send(signal.SIGSTOP, workers)
    assert num_finished(output) < sum(
        len(split.shards) for split in local.splits.values()
    )
    stdout, stderr = job.communicate(timeout=300)
    assert job.returncode == 0, stderr
    assert stdout == f"dataset digest: {local.digest}\n"
    assert verify.find_faults(str(output), contract.load_manifest(output)) == []
    (actual,) = flink.get("jobs/overview")["jobs"]
    restarted_at = flink.get(f"jobs/{actual['jid']}")["timestamps"]["RESTARTING"] / 1000
    # The job restarts after our heartbeat.timeout of 10 s; Flink's default is 50 s.
    assert 5 < restarted_at - cut_at < 30
    assert flink.get("overview")["taskmanagers"] == 1
    hosts[2].restore()
    send(signal.SIGCONT, workers)
    wait_until(lambda: flink.get("overview")["taskmanagers"] == 2, 120, pause=0.5)
    assert contract.load_manifest(output).digest == local.digest
