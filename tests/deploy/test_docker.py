"""Images: their Dockerfiles, their content, and the Compose file that runs them."""

import ast
import fnmatch
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tests.deploy import manifests
from tests.deploy.manifests import DEPLOY, ROOT

DOCKERFILES = sorted((DEPLOY / "docker").glob("*.Dockerfile"))
# Import names of packages whose import name differs from the package's name.
IMPORTED = {
    "absl-py": "absl",
    "boto3": "botocore",
    "google-cloud-storage": "google",
    "grpcio": "grpc",
    "pillow": "PIL",
}


def packages() -> list[str]:
    """Returns the packages that the worker's image installs."""
    lines = (DEPLOY / "docker/pipeline.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def tool(name: str) -> str:
    """Returns the path of a program that a package installs beside Python."""
    path = shutil.which(name, path=pathlib.Path(sys.executable).parent)
    assert path, f"no {name}: make venv"
    return path


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles_are_clean(path):
    done = subprocess.run([tool("hadolint"), path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_compose_file_is_as_its_specification_says(tmp_path):
    program = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    path = DEPLOY / "docker/compose.yaml"
    done = subprocess.run([*program, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(path.read_text().replace("depends_on:", "depend_on:"))
    assert subprocess.run([*program, wrong], capture_output=True).returncode == 1


def test_services_depend_on_what_there_is():
    (body,) = manifests.load("docker/compose.yaml")
    services = body["services"]
    for name, service in services.items():
        build = service["build"]
        assert (DEPLOY / "docker" / build["context"]).resolve() == ROOT
        text = (ROOT / build["dockerfile"]).read_text()
        assert build.get("target", "") in ["", *re.findall(r"AS (\w+)", text)]
        for other, condition in service.get("depends_on", {}).items():
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in services[other], (name, other)
    ports = services["tensorboard"]["ports"]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    flags = services["prepare"]["command"]
    environ = services["flink"]["environment"]
    assert f"--job_endpoint=127.0.0.1:{environ['VAELINE_FLINK_JOB_PORT']}" in flags
    pool = environ["VAELINE_FLINK_POOL_PORT"]
    assert f"--environment_config=127.0.0.1:{pool}" in flags


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_are_pinned_and_not_run_by_root(path):
    text = path.read_text()
    stages = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", text, re.MULTILINE)
    named = [name for _, name in stages]
    for image, _ in stages:
        assert image in named or re.search(r":\d[\w.-]+$", image), image
    users = re.findall(r"^USER (\S+)$", text, re.MULTILINE)
    assert users[-1] == "1000:1000"
    assert text.count("--constraint pins.txt") == text.count("pip install")


def test_beam_and_python_are_those_of_the_lock():
    lock = (ROOT / "requirements.lock").read_text()
    beam = re.search(r"^apache-beam==(\S+)", lock, re.MULTILINE)[1]
    text = (DEPLOY / "docker/beam.Dockerfile").read_text()
    minor = "{}.{}".format(*sys.version_info)
    assert f"FROM apache/beam_python{minor}_sdk:{beam} AS worker" in text
    assert f"python{minor.replace('.', '')}-template-launcher-base" in text
    assert f"FROM python:{minor}." in (DEPLOY / "docker/trainer.Dockerfile").read_text()


def test_the_context_has_what_is_copied_and_no_more():
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert rules[1] == "*"
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    copied = set()
    for path in DOCKERFILES:
        for line in re.findall(r"^COPY ([^-\n].*)$", path.read_text(), re.MULTILINE):
            copied.update(line.split()[:-1])
    for name in copied:
        assert (ROOT / name).exists(), name
        assert any(name == rule or name.startswith(f"{rule}/") for rule in kept), name
    for rule in kept:
        assert any(fnmatch.fnmatch(name, f"{rule}*") for name in copied), rule


def test_the_worker_has_what_the_pipeline_imports_and_no_tensorflow():
    names = packages()
    lock = (ROOT / "requirements.lock").read_text()
    assert all(re.search(rf"^{name}==", lock, re.MULTILINE) for name in names)
    assert not [
        name
        for name in names
        if name.startswith(("tensorflow", "keras")) and name != "tensorflow-datasets"
    ]
    installed = {IMPORTED.get(name, name.replace("-", "_")) for name in names}
    imported = set()
    for path in (ROOT / "pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    # Only pipeline.encode imports tensorflow, for an export.
    imported -= {*sys.stdlib_module_names, "pipeline", "tensorflow"}
    assert imported == installed
