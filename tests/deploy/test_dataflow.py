"""Parameters of the flex template, and the file that its launcher runs."""

import json
import re
import subprocess
import sys

import pytest

from pipeline import contract, sources
from tests.deploy import test_commands
from tests.deploy.manifests import DEPLOY, ROOT

METADATA = json.loads((DEPLOY / "dataflow/metadata.json").read_text())
PARAMETERS = {one["name"]: one for one in METADATA["parameters"]}
VALUES = {
    "input": "gs://bucket/celeba",
    "output": "gs://bucket/celeba128",
    "sdk_container_image": "europe-docker.pkg.dev/p/vaeline/vaeline-worker:0.1.0",
    "sdk_location": "container",
    "source": "folder",
    "image_size": "64",
    "image_dtype": "uint8",
    "shard_size": "1024",
    "split_fractions": "0.8,0.1,0.1",
    "max_rejected_fraction": "0.01",
}


def accepts(name: str, value: str) -> bool:
    return all(re.search(pattern, value) for pattern in PARAMETERS[name]["regexes"])


def test_parameters_are_flags():
    assert list(PARAMETERS) == list(VALUES)
    assert all(accepts(name, value) for name, value in VALUES.items())
    flags = [f"--{name}={value}" for name, value in VALUES.items()]
    # The launcher adds these flags.
    flags += ["--runner=DataflowRunner", "--project=p", "--region=europe-west1"]
    flags += ["--template_location=gs://bucket/staging/x/job_object", "--job_name=x"]
    flags += ["--temp_location=gs://bucket/temp"]
    assert test_commands.parse("pipeline.prepare", [("template", flags)]) == ""


def test_parameters_say_what_they_are():
    allowed = {"name", "label", "helpText", "regexes", "isOptional"}
    for one in METADATA["parameters"]:
        assert allowed - {"isOptional"} <= one.keys() <= allowed
    required = [one for one in VALUES if not PARAMETERS[one].get("isOptional")]
    assert required == ["input", "output", "sdk_container_image", "sdk_location"]


@pytest.mark.parametrize(
    ("name", "choices"),
    [("source", sources.SOURCES), ("image_dtype", contract.IMAGE_DTYPES)],
)
def test_choices_are_those_of_prepare(name, choices):
    (pattern,) = PARAMETERS[name]["regexes"]
    assert sorted(pattern.strip("^()$").split("|")) == sorted(choices)


def test_the_launcher_runs_prepare():
    program = [sys.executable, DEPLOY / "dataflow/prepare.py"]
    done = subprocess.run(
        [*program, "--input=x", "--output=x", "--imagesize=8"],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "unknown flag --imagesize: did you mean --image_size?" in done.stderr
    dockerfile = (DEPLOY / "docker/beam.Dockerfile").read_text()
    path = "deploy/dataflow/prepare.py"
    assert f"FLEX_TEMPLATE_PYTHON_PY_FILE=/opt/vaeline/{path}" in dockerfile
