"""The job on a local Flink cluster, with parts of the cluster killed."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline import contract, sources, verify
from pipeline.formats import records
from pipeline.planning.dataset_settings import Settings
from pipeline.storage import files
from tests import preloaded
from tests.pipeline import calls, exports
from tests.pipeline.commands import (
    children,
    kept_shards,
    num_finished,
    send,
    wait_until,
)

pytestmark = pytest.mark.flink

ROOT = pathlib.Path(__file__).parents[3]
NUM_IMAGES = 1000
SETTINGS = Settings(image_size=32, shard_size=8)
FLAGS = ("--image_size=32", "--shard_size=8")
SCRIPT = f"{ROOT}/deploy/flink/local.sh"


def run_script(verb: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, verb], env=environ, capture_output=True, text=True)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The cluster that `local.sh` started, and the data set to prepare on it."""

    url: str
    state: pathlib.Path
    environ: dict[str, str]
    faces: str
    local: contract.Manifest

    @property
    def num_shards(self) -> int:
        return sum(len(split.shards) for split in self.local.splits.values())

    def start(self, output: pathlib.Path, *arguments: str) -> subprocess.Popen[str]:
        """Starts a job on the cluster."""
        program = [SCRIPT, "run", f"--input={self.faces}"]
        return subprocess.Popen(
            [*program, f"--output={output}", *FLAGS, *arguments],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start_and_wait_for_its_middle(
        self, output: pathlib.Path
    ) -> subprocess.Popen[str]:
        """Starts a job, and returns once it has written a few shards."""
        process = self.start(output)
        wait_until(lambda: num_finished(output) >= 5 or process.poll() is not None, 120)
        assert process.poll() is None, process.communicate()
        return process

    def pid(self, service: str) -> int:
        """Returns the process id of a service."""
        return int((self.state / f"{service}.pid").read_text())

    def get(self, path: str) -> Any:
        """Returns the answer of Flink's REST API."""
        with urllib.request.urlopen(f"{self.url}/{path}", timeout=10) as answer:
            return json.load(answer)

    def last_job(self) -> dict[str, Any]:
        """Returns Flink's description of the latest job."""
        jobs = self.get("jobs/overview")["jobs"]
        return self.get(f"jobs/{max(jobs, key=lambda job: job['start-time'])['jid']}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if shutil.which("java") is None:
        pytest.skip("Flink needs Java: apt-get install default-jre-headless")
    root = tmp_path_factory.mktemp("flink")
    faces = root / "faces"
    python = preloaded.shared_python()
    program = [python, "-m", "pipeline.synthesize", f"--output={faces}"]
    subprocess.run([*program, f"--num_images={NUM_IMAGES}"], check=True)
    local = calls.prepare(SETTINGS, input_dir=str(faces), output=str(root / "local"))
    environ = {
        **os.environ,
        "VAELINE_FLINK_STATE": str(root / "state"),
        "VAELINE_PYTHON": python,
    }
    try:
        up = run_script("up", environ)
        assert up.returncode == 0, up.stderr
        url = up.stdout.split(": ")[-1].split(",")[0]
        yield Cluster(url, root / "state", environ, str(faces), local)
    finally:
        assert run_script("down", environ).returncode == 0
        assert run_script("status", environ).returncode == 1


def check(cluster: Cluster, output: pathlib.Path, stdout: str) -> None:
    """Checks that a dataset has the local dataset's digest, and every key once."""
    proto = pytest.importorskip("tensorflow_datasets.proto").tf_example_pb2
    assert stdout == f"dataset digest: {cluster.local.digest}\n"
    manifest = contract.load_manifest(output)
    assert manifest.digest == cluster.local.digest
    assert verify.find_faults(str(output), manifest) == []
    keys = [
        proto.Example.FromString(records.unframed(framed)).features.feature["key"]
        for split in manifest.splits.values()
        for shard in split.shards
        for framed in records.read_frames(output / shard.name)
    ]
    names = sorted(key.bytes_list.value[0].decode() for key in keys)
    listing = sources.list_images("celeba", cluster.faces)
    assert names == sorted(
        key for split in listing.by_split().values() for key in split.keys
    )
    left = {path.suffix for path in (output / files.PROGRESS_DIR).iterdir()}
    assert left == {"", ".json"}


def test_flink_makes_the_local_runners_bytes(cluster, tmp_path):
    stdout, stderr = cluster.start(tmp_path / "out").communicate(timeout=300)
    check(cluster, tmp_path / "out", stdout)
    assert kept_shards(stderr) == (0, cluster.num_shards)
    job = cluster.last_job()
    (vertex,) = (v for v in job["vertices"] if "MakeShards" in v["name"])
    answer = cluster.get(f"jobs/{job['jid']}/vertices/{vertex['id']}/taskmanagers")
    read = [manager["metrics"]["read-records"] for manager in answer["taskmanagers"]]
    assert len(read) == 2
    assert min(read) > 0


def test_a_job_server_of_ones_own_submits_to_the_cluster(cluster, tmp_path):
    """Submits a job as another machine does in deploy/flink/operator/prepare.yaml."""
    jar = tmp_path / "job-server.jar"
    subprocess.run([SCRIPT, "job-server", jar], env=cluster.environ, check=True)
    text = (cluster.state / "cluster").read_text()
    port = re.search(r'pool_port="?(\d+)', text)[1]
    program = [preloaded.shared_python(), "-m", "pipeline.prepare", *FLAGS]
    program += [f"--input={cluster.faces}", f"--output={tmp_path / 'out'}"]
    program += ["--runner=FlinkRunner"]
    program += [f"--flink_master={cluster.url}", "--flink_version=1.19"]
    program += [f"--flink_job_server_jar={jar}", "--parallelism=2"]
    program += ["--environment_type=EXTERNAL", f"--environment_config=localhost:{port}"]
    java = f"@{ROOT}/deploy/flink/java.args"
    done = subprocess.run(
        program,
        env=cluster.environ | {"JDK_JAVA_OPTIONS": java},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    check(cluster, tmp_path / "out", done.stdout)


def test_a_job_that_is_left_to_itself_publishes(cluster, tmp_path):
    output = tmp_path / "out"
    launcher = cluster.start(output, "--no_wait_until_finish")
    assert launcher.wait(timeout=120) == 0
    launcher.communicate()
    wait_until((output / contract.MANIFEST_NAME).exists, 120)
    assert contract.load_manifest(output).digest == cluster.local.digest


@pytest.mark.parametrize("are_raw", [False, True])
def test_flink_makes_the_local_runners_latents(cluster, tmp_path, are_raw):
    images = cluster.state.parent / "local"
    model = exports.write(tmp_path / "model", images)
    flags = (f"--model={model}", f"--dataset={images}")
    if are_raw:
        flags = (f"--model={model}", f"--input={cluster.faces}", "--shard_size=8")
    local = (preloaded.shared_python(), "-m", "pipeline.encode", "--num_workers=2")
    runs = [
        subprocess.run(
            [*program, *flags, f"--output={tmp_path / name}"],
            env=cluster.environ,
            capture_output=True,
            text=True,
            timeout=300,
        )
        for name, program in (("local", local), ("flink", (SCRIPT, "encode")))
    ]
    for name, done in zip(("local", "flink"), runs, strict=True):
        assert done.returncode == 0, done.stderr
        assert kept_shards(done.stderr) == (0, cluster.num_shards)
        manifest = contract.load_manifest(tmp_path / name)
        assert verify.find_faults(str(tmp_path / name), manifest) == []
    assert runs[0].stdout == runs[1].stdout


@pytest.mark.parametrize("service", ["task-manager-1", "worker-pool"])
def test_a_job_survives_what_it_runs_on(cluster, tmp_path, service):
    process = cluster.start_and_wait_for_its_middle(tmp_path / "out")
    # Kill the whole process tree, as the end of a container would.
    pid = cluster.pid(service)
    send(signal.SIGKILL, [pid, preloaded.copy_of(pid), *children(pid)])
    assert num_finished(tmp_path / "out") < cluster.num_shards
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    check(cluster, tmp_path / "out", stdout)
    assert cluster.last_job()["timestamps"]["RESTARTING"] > 0


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
def test_a_job_goes_on_after_its_launcher(cluster, tmp_path, signal_number):
    process = cluster.start_and_wait_for_its_middle(tmp_path / "out")
    # With its workers stopped, the job is slow, and the next run overtakes it.
    workers = children(cluster.pid("worker-pool"))
    send(signal.SIGSTOP, workers)
    left_alone = cluster.last_job()["jid"]
    os.kill(preloaded.copy_of(process.pid), signal_number)
    _, stderr = process.communicate(timeout=60)
    if signal_number == signal.SIGINT:
        assert process.returncode == 128 + signal.SIGINT
        assert (
            "interrupted: run the same command again; it keeps the finished shards"
            in stderr
        )
        assert "Traceback" not in stderr
    process = cluster.start(tmp_path / "out")
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert 5 <= kept_shards(stderr)[0] < cluster.num_shards
    check(cluster, tmp_path / "out", stdout)
    send(signal.SIGCONT, workers)
    ends = ("CANCELED", "FAILED")
    wait_until(lambda: cluster.get(f"jobs/{left_alone}")["state"] in ends, 120)


def test_an_error_of_a_worker_is_one_line(cluster, tmp_path):
    process = cluster.start(tmp_path / "out", "--crop_size=200")
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 1
    assert stdout == ""
    [line] = [line for line in stderr.splitlines() if line.startswith("error: ")]
    rejected = (
        f"error: {NUM_IMAGES} of {NUM_IMAGES} images were rejected, a fraction of 1"
    )
    assert line.startswith(rejected)
    assert "Traceback" not in stderr
    assert "Exception" not in stderr


def test_a_second_cluster_in_the_same_state_is_refused(cluster):
    assert run_script("status", cluster.environ).stdout.count(" up ") == 5
    done = run_script("up", cluster.environ)
    assert done.returncode == 1
    assert done.stderr.startswith("error: a cluster is up in ")


@pytest.fixture
def fresh(tmp_path: pathlib.Path) -> dict[str, str]:
    """Returns the environment of a machine that has Java, but no jars."""
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.symlink_to("/bin/true")
    return {
        "PATH": f"{java.parent}:/usr/bin:/bin",
        "VAELINE_CACHE": str(tmp_path / "cache"),
        "VAELINE_MAVEN": f"file://{tmp_path}/maven",
        "VAELINE_PYTHON": sys.executable,
    }


def test_a_download_that_fails_leaves_nothing(fresh, tmp_path):
    done = run_script("up", fresh)
    assert done.returncode == 1
    assert done.stderr.startswith("error: download failed: curl: ")
    assert done.stderr.count("\n") == 1
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_jar_that_was_changed_is_refused(fresh, tmp_path):
    for line in (ROOT / "deploy/flink/jars.sha256").read_text().splitlines():
        if not line.startswith("#"):
            path = tmp_path / "maven" / line.split()[1]
            path.parent.mkdir(parents=True)
            path.write_bytes(b"PK")
    done = run_script("up", fresh)
    assert done.returncode == 1
    assert done.stderr == (
        "error: download differs from jars.sha256: args4j/args4j/2.33/args4j-2.33.jar: "
        "FAILED\n"
    )
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_part_of_a_cluster_gets_the_ports(fresh):
    fresh["VAELINE_FLINK_JOB_MANAGER"] = "10.0.0.1"
    done = run_script("up", fresh)
    assert done.returncode == 1
    assert done.stderr == (
        "error: VAELINE_FLINK_RPC_PORT is not set: set it to the value on 10.0.0.1\n"
    )


def test_what_is_missing_is_named(fresh, tmp_path):
    fresh["PATH"] = str(tmp_path / "bin")
    for name in ("bash", "dirname", "cat", "seq", "env"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    (tmp_path / "bin" / "java").unlink()
    done = run_script("up", fresh)
    assert done.stderr == "error: no Java: apt-get install default-jre-headless\n"
    fresh["VAELINE_PYTHON"] = "/absent/python"
    done = run_script("up", fresh)
    assert done.stderr.startswith("error: found no /absent/python: run `make venv`")
    done = run_script("run", fresh)
    assert done.stderr.startswith("error: no cluster is up in ")
