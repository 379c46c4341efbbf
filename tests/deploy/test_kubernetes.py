"""Manifests agree with the schemas of Kubernetes and operators, and with each other."""

import copy
import json
import os
import re
import subprocess
import zipfile

import jsonschema
import kubernetes_validate
import pytest

from tests.deploy import crds, manifests
from trainer.distribution import cluster

VERSION = "1.32"
CUSTOM = ("flink.apache.org", "trainer.kubeflow.org")


@pytest.fixture(scope="module")
def validators():
    """Returns the validators of custom resources."""
    try:
        return crds.validators()
    except OSError as error:
        pytest.skip(f"the schemas of the operators cannot be fetched: {error}")


def is_custom(body) -> bool:
    return body["apiVersion"].split("/")[0] in CUSTOM


def check(body, validators) -> None:
    """Validates a resource; raises a `ValidationError` of either library."""
    if is_custom(body):
        validators[body["apiVersion"], body["kind"]].validate(body)
    else:
        kubernetes_validate.validate(body, VERSION, strict=True)


ERRORS = (jsonschema.ValidationError, kubernetes_validate.ValidationError)


def test_every_resource_is_as_its_schema_says(validators):
    for where, body in manifests.every_resource():
        try:
            check(body, validators)
        except ERRORS as error:
            text = f"{where}: {error.message} at {list(error.absolute_path)}"
            pytest.fail(text, pytrace=False)


def test_no_resource_may_have_a_field_that_there_is_not(validators):
    kinds = set()
    for _, body in manifests.every_resource():
        wrong = copy.deepcopy(body)
        wrong["spec"]["misspelt"] = 1
        with pytest.raises(ERRORS, match="misspelt"):
            check(wrong, validators)
        kinds.add(body["kind"])
    assert kinds == {
        "ClusterTrainingRuntime",
        "Deployment",
        "FlinkDeployment",
        "Job",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "Service",
        "TrainJob",
    }


def test_a_wrong_value_deep_in_a_custom_resource_is_refused(validators):
    (body,) = manifests.load("flink/operator/cluster.yaml")
    pod = body["spec"]["taskManager"]["podTemplate"]["spec"]
    pod["containers"][1]["volumeMounts"][0]["mountpath"] = "/x"
    with pytest.raises(jsonschema.ValidationError, match="mountpath"):
        check(body, validators)


def test_schemas_that_were_changed_are_refused(tmp_path, monkeypatch):
    def make(url: str) -> bytes:
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for line in crds.PINS.read_text().splitlines()[2:]:
                archive.writestr(line.split()[1], "spec: {}")
        return (tmp_path / "x.zip").read_bytes()

    monkeypatch.setattr(crds, "_CACHE", tmp_path)
    monkeypatch.setattr(crds, "_download", make)
    with pytest.raises(ValueError, match="differs from its hash in .*crds.sha256"):
        crds.fetch()
    assert not list(tmp_path.glob("crds/*"))


@pytest.mark.parametrize("folder", manifests.KUSTOMIZATIONS)
def test_services_and_policies_choose_pods_that_there_are(folder):
    bodies = manifests.build(folder)
    pods = [dict(_pod(body)["metadata"]["labels"]) for body in bodies if _pod(body)]
    for body in bodies:
        if body["kind"] == "Job":
            name = {"batch.kubernetes.io/job-name": body["metadata"]["name"]}
            pods.append(_pod(body)["metadata"]["labels"] | name)
    selectors = [
        body["spec"]["selector"] for body in bodies if body["kind"] == "Service"
    ]
    selectors += [
        body["spec"]["podSelector"]["matchLabels"]
        for body in bodies
        if body["kind"] == "NetworkPolicy"
    ]
    for selector in selectors:
        assert any(selector.items() <= labels.items() for labels in pods), selector


def _pod(body):
    """Returns the template of a resource's pods, if it has one."""
    spec = body["spec"]
    if body["kind"] == "ClusterTrainingRuntime":
        spec = spec["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]
    return spec.get("template", {}) if body["kind"] != "TrainJob" else {}


def every_pod():
    """Returns a place in words and a spec for every pod."""
    actual = [(where, _pod(body)) for where, body in manifests.every_resource()]
    actual = [(where, pod["spec"]) for where, pod in actual if pod.get("spec")]
    (flink,) = manifests.load("flink/operator/cluster.yaml")
    return [*actual, ("flink", flink["spec"]["taskManager"]["podTemplate"]["spec"])]


def test_containers_have_no_rights_and_no_more_memory_than_they_are_given():
    num_seen = 0
    for where, pod in every_pod():
        for container in pod.get("initContainers", []) + pod["containers"]:
            if not container.get("image", "").startswith("vaeline-"):
                continue
            security = pod.get("securityContext", {}) | container["securityContext"]
            assert security["runAsNonRoot"], where
            assert security["runAsUser"] == security["fsGroup"] == 1000, where
            assert security["allowPrivilegeEscalation"] is False, where
            assert security["capabilities"] == {"drop": ["ALL"]}, where
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}, where
            num_seen += 1
        for container in pod["containers"]:
            if "resources" in container:
                assert "memory" in container["resources"]["limits"], where
    assert num_seen > 15


def _indexed_job(bodies):
    """Returns the name of an indexed Job's pods, their number, and their variables.

    The name does not include the pod's index.
    """
    job = manifests.find(bodies, "Job", "vaeline-trainer")["spec"]
    service = manifests.find(bodies, "Service", "vaeline-trainer")["spec"]
    assert job["completionMode"] == "Indexed"
    assert job["completions"] == job["parallelism"]
    assert service["clusterIP"] == "None"
    assert service["ports"][0]["port"] == cluster.DEFAULT_PORT
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    assert container["ports"][0]["containerPort"] == cluster.DEFAULT_PORT
    assert pod["subdomain"] == "vaeline-trainer"
    return "vaeline-trainer", job["completions"], container["env"]


def _train_job(bodies):
    """Returns the same values as `_indexed_job` for the JobSet that Kubeflow makes."""
    job = manifests.find(bodies, "TrainJob", "vaeline-celeba")
    runtime = manifests.find(bodies, "ClusterTrainingRuntime", "vaeline")
    assert job["spec"]["runtimeRef"]["name"] == "vaeline"
    assert not [
        body
        for body in bodies
        if body["metadata"]["name"] == "vaeline-trainer"
        and body["kind"] != "NetworkPolicy"
    ]
    (replicated,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    (container,) = replicated["template"]["spec"]["template"]["spec"]["containers"]
    # Kubeflow finds the job and container to change by these names.
    assert replicated["name"] == container["name"] == "node"
    assert replicated["template"]["metadata"]["labels"] == {
        "trainer.kubeflow.org/trainjob-ancestor-step": "trainer"
    }
    # Kubeflow gives the JobSet the name of the TrainJob. JobSet labels its pods with
    # that name, and its service has the same name.
    name = job["metadata"]["name"]
    (subdomain,) = container["env"]
    path = subdomain["valueFrom"]["fieldRef"]["fieldPath"]
    assert path == "metadata.labels['jobset.sigs.k8s.io/jobset-name']"
    trainer = job["spec"]["trainer"]
    environ = [{"name": subdomain["name"], "value": name}, *trainer["env"]]
    return f"{name}-node-0", trainer["numNodes"], environ


@pytest.mark.parametrize("folder", manifests.KUSTOMIZATIONS)
def test_hosts_find_each_other(folder):
    describe = _train_job if folder == "overlays/kubeflow" else _indexed_job
    stem, num_hosts, variables = describe(manifests.build(folder))
    assert num_hosts == 2
    environ = {entry["name"]: entry["value"] for entry in variables}
    domain = environ[cluster.SUBDOMAIN_VARIABLE]
    hosts = tuple(f"{stem}-{host}.{domain}:2222" for host in range(num_hosts))
    for index in range(num_hosts):
        # Kubernetes sets these variables for an indexed Job.
        environ["JOB_COMPLETION_INDEX"] = str(index)
        environ["HOSTNAME"] = f"{stem}-{index}"
        assert cluster.find_cluster(environ) == cluster.Cluster(
            hosts, index, "JOB_COMPLETION_INDEX"
        )


def test_what_writes_nothing_is_taken_to_hang(tmp_path):
    """Checks the probes of all trainers, and of `prepare` on one machine."""
    trainer = manifests.load("docker/compose.yaml")[0]["services"]["trainer"]
    checks = [(trainer["command"], trainer["healthcheck"]["test"][-1])]
    (job,) = manifests.load("kubernetes/overlays/kubeflow/trainjob.yaml")
    for _, pod in every_pod():
        for container in pod["containers"]:
            if container["name"] in ("prepare", "trainer", "node"):
                args = container.get("args", job["spec"]["trainer"]["args"])
                probe = container["livenessProbe"]["exec"]["command"]
                checks.append((args, probe[-1]))
    assert len(checks) == 1 + 2 * len(manifests.KUSTOMIZATIONS)
    for args, program in checks:
        path = program.split()[1]
        assert {f"--workdir={path}", f"--output={path}"} & set(args)
        assert program == checks[0][1].replace("/data/run", path)

    def works() -> bool:
        shell = checks[0][1].replace("/data/run", str(tmp_path / "run"))
        done = subprocess.run(["sh", "-c", shell], stderr=subprocess.DEVNULL)
        return done.returncode == 0

    assert not works()
    (tmp_path / "run").mkdir()
    (tmp_path / "run/metrics.jsonl").touch()
    assert works()
    for path in (tmp_path / "run/metrics.jsonl", tmp_path / "run"):
        hour_ago = path.stat().st_mtime - 3600
        os.utime(path, (hour_ago, hour_ago))
    assert not works()


def test_a_restart_is_not_tried_where_it_changes_nothing():
    text = (manifests.ROOT / "trainer/system/supervisor.py").read_text()
    final = set(json.loads(re.search(r"_FINAL_CODES = \((.*)\)", text)[1].join("[]")))
    runtime = manifests.load("kubernetes/overlays/kubeflow/runtime.yaml")[0]
    replicated = runtime["spec"]["template"]["spec"]["replicatedJobs"][0]
    jobs = [manifests.find(manifests.build("base"), "Job", "vaeline-trainer")]
    jobs.append(replicated["template"])
    for job in jobs:
        spec = job["spec"]
        assert spec["template"]["spec"]["restartPolicy"] == "Never"
        rules = spec["podFailurePolicy"]["rules"]
        (codes,) = [rule["onExitCodes"] for rule in rules if "onExitCodes" in rule]
        names = [one["name"] for one in spec["template"]["spec"]["containers"]]
        assert codes["containerName"] in names
        # Python itself exits with 2 on a wrong command line.
        assert set(codes["values"]) == final - {0} | {2}


def test_gpus_are_those_that_the_trainer_is_told_of():
    job = manifests.find(manifests.build("overlays/gpu"), "Job", "vaeline-trainer")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    num_gpus = container["resources"]["limits"]["nvidia.com/gpu"]
    assert f"--num_gpus={num_gpus}" in container["args"]
    assert container["image"].endswith("-gpu")
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
    # A patch keeps the volumes that it does not name.
    assert volumes[mounts["/data"]]["persistentVolumeClaim"]["claimName"] == (
        "vaeline-data"
    )
