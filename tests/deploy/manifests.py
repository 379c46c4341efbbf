"""Resources of deploy/, and the commands that they run."""

import functools
import pathlib
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUSTOMIZATIONS = ("base", "overlays/local", "overlays/gpu", "overlays/kubeflow")


class Command(NamedTuple):
    """Program that a container runs, and the place that describes it."""

    where: str
    argv: tuple[str, ...]
    container: dict[str, Any]


def load(path: str) -> list[dict[str, Any]]:
    """Returns the documents of a YAML file under deploy/."""
    return list(yaml.safe_load_all((DEPLOY / path).read_text()))


@functools.cache
def build(kustomization: str) -> list[dict[str, Any]]:
    """Returns the resources of a kustomization."""
    if shutil.which("kustomize"):
        program = ["kustomize", "build"]
    elif shutil.which("kubectl"):
        program = ["kubectl", "kustomize"]
    else:
        pytest.skip("needs kustomize or kubectl")
    folder = DEPLOY / "kubernetes" / kustomization
    done = subprocess.run([*program, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def flink() -> list[dict[str, Any]]:
    """Returns the resources of the Flink operator: cluster, network policy and job."""
    names = ("cluster", "network", "prepare")
    return [body for name in names for body in load(f"flink/operator/{name}.yaml")]


def every_resource() -> list[tuple[str, dict[str, Any]]]:
    """Returns a place in words and a body for every resource of Kubernetes."""
    actual = [
        (f"{folder}: {body['kind']} {body['metadata']['name']}", body)
        for folder in KUSTOMIZATIONS
        for body in build(folder)
    ]
    return actual + [(f"flink: {body['kind']}", body) for body in flink()]


def find(bodies: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """Returns the only resource of a kind and name."""
    (actual,) = [
        body
        for body in bodies
        if body["kind"] == kind and body["metadata"]["name"] == name
    ]
    return actual


def commands() -> list[Command]:
    """Returns every command, including the entry point of its image."""
    actual = []
    for where, body in every_resource():
        actual += _commands(where, body)
    for name, service in load("docker/compose.yaml")[0]["services"].items():
        if "entrypoint" not in service:
            argv = ("python", "-m", *service["command"])
            actual.append(Command(f"compose: {name}", argv, service))
    (job,) = load("vertex/custom_job.yaml")
    for pool in job["workerPoolSpecs"]:
        actual += _commands("vertex", pool["containerSpec"])
    return actual


def _commands(where: str, body: Any) -> Iterator[Command]:
    if isinstance(body, list):
        for part in body:
            yield from _commands(where, part)
    elif isinstance(body, dict):
        if "args" in body or "command" in body:
            argv = (*body.get("command", ("python", "-m")), *body.get("args", ()))
            yield Command(where, argv, body)
        for part in body.values():
            yield from _commands(where, part)
