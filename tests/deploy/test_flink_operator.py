"""The Flink operator's cluster agrees with the local cluster that tests run on."""

import re
import subprocess
import sys
import zipfile

import pytest
import yaml

from tests.deploy import manifests
from tests.deploy.manifests import DEPLOY


@pytest.fixture
def spec():
    """Returns the spec of the FlinkDeployment."""
    return manifests.load("flink/operator/cluster.yaml")[0]["spec"]


def test_flink_is_the_version_that_is_tested(spec):
    pins = (DEPLOY / "flink/jars.sha256").read_text()
    version = re.search(r"flink-runtime-([\d.]+)\.jar", pins)[1]
    assert spec["image"] == f"flink:{version}-java17"
    short = version.rpartition(".")[0]
    assert spec["flinkVersion"] == f"v{short.replace('.', '_')}"
    args = manifests.load("flink/operator/prepare.yaml")[0]["spec"]["template"]["spec"]
    assert f"--flink_version={short}" in args["containers"][0]["args"]
    assert f"beam-runners-flink-{short}/" in pins


def test_it_is_set_as_the_local_cluster(spec):
    local = yaml.safe_load((DEPLOY / "flink/config.yaml").read_text().replace("@", "'"))
    there = spec["flinkConfiguration"]
    alike = [key for key in local if key.startswith(("restart-strategy", "heartbeat"))]
    assert len(alike) == 7
    assert {key: str(local[key]) for key in alike} == {key: there[key] for key in alike}
    java = (DEPLOY / "flink/java.args").read_text().split()
    opened = [part for part in java if part.startswith("--add-opens")]
    assert there["env.java.opts.all"].split() == opened


def test_the_job_goes_to_that_cluster_and_its_pools(spec):
    (body,) = manifests.load("flink/operator/cluster.yaml")
    (job,) = manifests.load("flink/operator/prepare.yaml")
    flags = dict(
        arg.removeprefix("--").split("=", 1)
        for arg in job["spec"]["template"]["spec"]["containers"][0]["args"][1:]
    )
    assert flags["flink_master"] == f"{body['metadata']['name']}-rest:8081"
    assert flags["environment_type"] == "EXTERNAL"
    main, pool = spec["taskManager"]["podTemplate"]["spec"]["containers"]
    # The operator recognises Flink's own container by this name.
    assert main["name"] == "flink-main-container"
    port = flags["environment_config"].removeprefix("localhost:")
    assert pool["command"][-1] == port
    assert f'("127.0.0.1", {port})' in pool["livenessProbe"]["exec"]["command"][-1]
    dockerfile = (DEPLOY / "docker/beam.Dockerfile").read_text()
    assert f"local.sh job-server {flags['flink_job_server_jar']} " in dockerfile


def test_only_the_cluster_its_job_and_the_operator_reach_it():
    (policy,) = manifests.load("flink/operator/network.yaml")
    (cluster,) = manifests.load("flink/operator/cluster.yaml")
    (job,) = manifests.load("flink/operator/prepare.yaml")
    # Flink puts this label on its pods.
    app = {"app": cluster["metadata"]["name"]}
    assert policy["spec"]["podSelector"]["matchLabels"] == app
    (rule,) = policy["spec"]["ingress"]
    assert [one["podSelector"]["matchLabels"] for one in rule["from"]] == [
        app,
        {"batch.kubernetes.io/job-name": job["metadata"]["name"]},
        {"app.kubernetes.io/name": "flink-kubernetes-operator"},
    ]


def test_the_pods_see_one_disk(spec):
    (job,) = manifests.load("flink/operator/prepare.yaml")
    claims = manifests.load("kubernetes/base/storage.yaml")
    pods = [spec["taskManager"]["podTemplate"]["spec"]]
    pods.append(job["spec"]["template"]["spec"])
    for pod in pods:
        (volume,) = pod["volumes"]
        assert (
            volume["persistentVolumeClaim"]["claimName"]
            == (claims[0]["metadata"]["name"])
        )
        mounts = pod["containers"][-1]["volumeMounts"]
        assert mounts == [{"name": volume["name"], "mountPath": "/data"}]
    assert claims[0]["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_job_server_is_a_jar_that_names_all_others(tmp_path):
    jars = tmp_path / "jars of all"
    jars.mkdir()
    names = [f"{'long-name-' * (number % 9)}{number}.jar" for number in range(40)]
    for name in names:
        (jars / name).touch()
    script = DEPLOY / "flink/job_server_jar.py"
    output = tmp_path / "job-server.jar"
    subprocess.run([sys.executable, script, jars, output], check=True)
    with zipfile.ZipFile(output) as archive:
        text = archive.read("META-INF/MANIFEST.MF").decode()
    # Java refuses longer lines in a jar manifest.
    assert max(len(line) for line in text.split("\r\n")) <= 72
    values = dict(
        line.split(": ", 1) for line in text.replace("\r\n ", "").split("\r\n") if line
    )
    assert values["Main-Class"] == "org.apache.beam.runners.flink.FlinkJobServerDriver"
    assert values["Class-Path"].split(" ") == sorted(
        (jars / name).as_uri() for name in names
    )
