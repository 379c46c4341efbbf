"""A run that is out of open files ends in one line with the cause and the remedy."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, runpy, sys
import pipeline.sources.{module} as module

read = module.{name}

def without_files(*arguments, **keywords):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    return read(*arguments, **keywords)

module.{name} = without_files
sys.argv = ["prepare", *sys.argv[1:]]
runpy.run_module("pipeline.prepare", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [("listing.archives", "index_zip"), ("listing.archives", "ZipReader.read")],
    ids=["launcher", "worker"],
)
def test_too_few_open_files_are_one_line(input_dir, tmp_path, module, name):
    program = PROGRAM.format(module=module, name=name)
    flags = [f"--input={input_dir}", f"--output={tmp_path / 'out'}", "--image_size=8"]
    done = subprocess.run(
        [sys.executable, "-c", program, *flags],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    *_, last = done.stderr.splitlines()
    assert last == (
        "error: this process needs more than 3 open files, its limit: raise the limit "
        "with ulimit -n 4096"
    )
    assert "Traceback" not in done.stderr
