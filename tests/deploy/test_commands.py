"""Module, flags and paths of every command in deploy/."""

import collections
import json
import os
import subprocess
import sys

import pytest

from tests.deploy import manifests
from tests.deploy.manifests import ROOT

# Parses each list of arguments like the command itself.
PARSE = """
import importlib, json, sys
from absl import flags
name = sys.argv[1]
importlib.import_module(name)
if name == "trainer.launch":
    # All but its own flags are those of trainer.train.
    importlib.import_module("trainer.train")
def parse(argv):
    if name == "pipeline.prepare":
        from pipeline.jobs import execution
        return execution.split_flags(argv)[:1]
    return flags.FLAGS(argv)
for where, arguments in json.loads(sys.argv[2]):
    flags.FLAGS.unparse_flags()
    try:
        assert parse([name, *arguments]) == [name], "not all are flags"
    except Exception as error:
        sys.exit(f"{where}: {error}")
"""
MODULES = ("pipeline.prepare", "pipeline.synthesize", "trainer.launch")
MODULES += ("trainer.tensorboard",)


def parse(module: str, lines: list[tuple[str, list[str]]]) -> str:
    """Returns the error in the flags of a module, or an empty text."""
    done = subprocess.run(
        [sys.executable, "-c", PARSE, module, json.dumps(lines)],
        cwd=ROOT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    return done.stderr.splitlines()[-1] if done.returncode else ""


@pytest.fixture(scope="module")
def by_module():
    """Returns the places and arguments of each module's commands, keyed by module."""
    actual = collections.defaultdict(list)
    for where, argv, _ in manifests.commands():
        if argv[:2] == ("python", "-m"):
            actual[argv[2]].append((where, list(argv[3:])))
    return actual


def test_these_modules_are_run(by_module):
    assert sorted(by_module) == sorted(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_every_flag_is_one_of_the_module(module, by_module):
    assert parse(module, by_module[module]) == ""


def test_a_flag_that_there_is_not_would_be_found():
    wrong = parse("pipeline.synthesize", [("here", ["--output=x", "--images=3"])])
    assert wrong.startswith("here: Unknown command line flag 'images'")


def test_programs_that_are_no_modules():
    seen = set()
    for where, argv, _ in manifests.commands():
        if argv[:2] == ("python", "-c"):
            compile(argv[2], where, "exec")
        elif argv[0] == "python" and argv[1] != "-m":
            assert (ROOT / argv[1]).is_file(), where
            seen.add(argv[1])
        elif argv[0] == "sh":
            subprocess.run(["sh", "-n", "-c", argv[2]], check=True)
    assert seen == {"deploy/flink/worker_pool.py"}


def test_what_is_at_data_is_mounted_there():
    num_seen = 0
    for where, argv, container in manifests.commands():
        # The mounts of a TrainJob are in its runtime.
        if "numNodes" in container or not any("=/data/" in part for part in argv):
            continue
        mounts = container.get("volumeMounts", ())
        actual = {(mount["name"], mount["mountPath"]) for mount in mounts}
        actual |= {tuple(text.split(":")) for text in container.get("volumes", ())}
        assert ("data", "/data") in actual, where
        num_seen += 1
    assert num_seen > 10
