"""Batch scripts, run with a fake `srun` that starts tasks as Slurm's `srun` does."""

import json
import pathlib
import re
import shutil
import subprocess

import pytest

from tests.deploy import test_commands
from tests.deploy.manifests import DEPLOY
from trainer.distribution import cluster

SCRIPTS = sorted((DEPLOY / "slurm").glob("*.sbatch"))
SCRIPTS.append(DEPLOY / "flink/local.sh")
NUM_NODES = 2

# Runs one task after another, each with the variables that Slurm sets for it.
SRUN = f"""#!/usr/bin/env bash
tasks_per_node=8
while [[ $1 == --* ]]; do
  [[ $1 == --ntasks-per-node=* ]] && tasks_per_node=${{1#*=}}
  shift
done
export SLURM_STEP_NODELIST='gpu[08-09]'
export SLURM_STEP_NUM_TASKS=$((tasks_per_node * {NUM_NODES}))
highest=0
for ((SLURM_PROCID = 0; SLURM_PROCID < SLURM_STEP_NUM_TASKS; SLURM_PROCID++)); do
  export SLURM_PROCID
  "$@" || highest=$?
done
exit $highest
"""
PYTHON = """#!/bin/sh
env -0 > "$RECORDS/$SLURM_PROCID.environ"
printf '%s\\n' "$@" > "$RECORDS/$SLURM_PROCID.argv"
exit "$CODE"
"""
SCONTROL = """#!/bin/sh
echo "$@" > "$RECORDS/requeued"
"""


@pytest.fixture
def submit(tmp_path):
    """Returns a function that runs a script as Slurm does, with recording commands."""
    for name, text in (("srun", SRUN), ("python", PYTHON), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def run(script: str, *arguments: str, code: int = 0, num_restarts: int = 0) -> int:
        environ = {
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "RECORDS": str(tmp_path),
            "CODE": str(code),
            "SLURM_JOB_ID": "204137",
            "SLURM_CPUS_PER_TASK": "16",
            "SLURM_GPUS_ON_NODE": "8",
            "SLURM_RESTART_COUNT": str(num_restarts),
            # A user's shell may still have this variable from an experiment.
            "TF_CONFIG": json.dumps({"cluster": {"worker": ["stray:1", "x:1"]}}),
        }
        program = ["bash", DEPLOY / "slurm" / script, *arguments]
        return subprocess.run(program, env=environ).returncode

    return run


def recorded(folder: pathlib.Path, task: str) -> tuple[list[str], dict[str, str]]:
    """Returns the arguments and the environment of a task."""
    entries = (folder / f"{task}.environ").read_text().split("\0")
    environ = dict(entry.split("=", 1) for entry in entries if entry)
    return (folder / f"{task}.argv").read_text().splitlines(), environ


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="needs shellcheck")
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_clean(path):
    done = subprocess.run(["shellcheck", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_hosts_find_each_other(submit, tmp_path):
    flags = ["--config=configs/celeba.py", "--dataset=data", "--workdir=a run"]
    assert submit("train.sbatch", *flags) == 0
    text = (DEPLOY / "slurm/train.sbatch").read_text()
    assert f"#SBATCH --nodes={NUM_NODES}\n" in text
    for task in range(NUM_NODES):
        argv, environ = recorded(tmp_path, str(task))
        assert argv == ["-m", "trainer.train", "--num_gpus=8", *flags]
        assert cluster.find_cluster(environ) == cluster.Cluster(
            ("gpu08:6359", "gpu09:6359"), task, "SLURM_STEP_NODELIST"
        )
    assert test_commands.parse("trainer.train", [("train", argv[2:])]) == ""


@pytest.mark.parametrize(
    ("code", "num_restarts", "is_requeued"),
    [
        (0, 0, False),
        (1, 0, False),
        (4, 0, False),
        # 138: the time limit is reached. 5: a host was lost. 137: a host was killed.
        (138, 0, True),
        (5, 3, True),
        (137, 19, True),
        (137, 20, False),
    ],
)
def test_a_training_goes_on_where_another_start_helps(
    submit, tmp_path, code, num_restarts, is_requeued
):
    actual = submit("train.sbatch", code=code, num_restarts=num_restarts)
    assert actual == code
    path = tmp_path / "requeued"
    assert path.exists() == is_requeued
    assert not is_requeued or path.read_text() == "requeue 204137\n"


def test_the_signal_is_one_that_the_trainer_knows():
    text = (DEPLOY / "slurm/train.sbatch").read_text()
    # Without `B:`, Slurm sends the signal to the tasks and not to the script.
    (name,) = re.findall(r"^#SBATCH --signal=(\w+)@\d+$", text, re.MULTILINE)
    signals = (DEPLOY.parent / "trainer/system/signals.py").read_text()
    assert f"signal.SIG{name}" in signals


def test_prepare(submit, tmp_path):
    assert submit("prepare.sbatch", "--input=a b", "--output=c") == 0
    argv, _ = recorded(tmp_path, "")
    assert argv[:3] == ["-m", "pipeline.prepare", "--num_workers=16"]
    assert argv[3:] == ["--input=a b", "--output=c"]
    assert test_commands.parse("pipeline.prepare", [("prepare", argv[2:])]) == ""
