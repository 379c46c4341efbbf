"""`--help` shows the flags of a command, and no other flags."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from tests.test_entry import COMMANDS, MODULES, ROOT, run

REQUIRED = COMMANDS | {
    # Images come from --dataset or --input, so neither flag is required.
    "pipeline.encode": ("--model=m", "--output=o"),
    # The required flags belong to trainer.train.
    "trainer.launch": (),
}
FLAG = re.compile(r"^  --(?:\[no\])?(\w+)", re.MULTILINE)
PROGRAM = """
import runpy, sys
module, *names = sys.argv[1:]
sys.argv = ["-m", "--help"]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
finally:
    print([name for name in names if name in sys.modules], file=sys.stderr)
"""


def shown(text: str) -> dict[str, list[str]]:
    """Returns the names of flags in order, keyed by the heading of their group."""
    parts = re.split(r"^(\S.*):\n(?=  --)", text, flags=re.MULTILINE)[1:]
    groups = zip(parts[::2], parts[1::2], strict=True)
    return {heading: FLAG.findall(body) for heading, body in groups}


@pytest.mark.parametrize("module", MODULES)
def test_a_command_shows_its_own_flags_required_ones_first(module: str) -> None:
    done = run(module, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"\n    python -m {module} --" in done.stdout
    groups = shown(done.stdout)
    names = [name for group in groups.values() for name in group]
    assert len(names) == len(set(names)) == len(FLAG.findall(done.stdout))
    # absl's own list of the flags of a command.
    xml = ElementTree.fromstring(run(module, "--helpxml").stdout)
    own = {
        flag.findtext("name"): flag
        for flag in xml.iter("flag")
        if flag.findtext("key") == "yes"
    }
    assert set(names) == set(own)
    required = {flag.split("=")[0].removeprefix("--") for flag in REQUIRED[module]}
    if required:
        assert next(iter(groups)) == "Required flags"
    assert set(groups.get("Required flags", ())) == required
    words = " ".join(done.stdout.split())
    for flag in own.values():
        default = flag.findtext("default")
        if default and default != "None":
            assert f"default: {default}" in words


@pytest.mark.parametrize("module", ["trainer.launch", "trainer.sweep", "trainer.train"])
def test_help_comes_before_any_error(module: str) -> None:
    help_alone = run(module, "--help").stdout
    for flags in (["--nonsense", "--help"], ["-?", "stray"], ["--helpshort"], ["-h"]):
        done = run(module, *flags)
        assert (done.returncode, done.stdout) == (0, help_alone), done.stderr
    assert "Required flags" not in run(module, "--nohelp").stdout


def test_flags_that_commands_share_have_a_group_of_their_own() -> None:
    groups = shown(run("trainer.doctor", "--help").stdout)
    assert list(groups) == ["Required flags", "Optional flags", "Flags of a training"]
    assert groups["Optional flags"] == ["full"]
    raw = "Flags for raw images, and for the splits and shards made from them"
    assert "split_fractions" in shown(run("pipeline.encode", "--help").stdout)[raw]


def test_a_flag_shows_its_values_and_its_default() -> None:
    text = " ".join(run("trainer.generate", "--help").stdout.split())
    assert (
        "--seed=VALUE Seed of all random draws. (a non-negative integer; default: 0)"
        in text
    )
    assert (
        "--prior=VALUE Distribution of the latents of samples. (one of normal, "
        "mixture; default: normal)" in text
    )
    assert "--workdir=VALUE Directory of the run. Optional flags:" in text
    text = " ".join(run("pipeline.synthesize", "--help").stdout.split())
    assert (
        "--[no]overwrite Replace the synthetic images that --output holds. (default: f"
        in text
    )


def test_the_full_help_has_the_flags_of_absl() -> None:
    done = run("trainer.report", "--helpfull")
    assert done.returncode == 0
    assert {"workdir", "alsologtostderr", "pdb"} <= set(FLAG.findall(done.stdout))


@pytest.mark.parametrize("module", MODULES)
def test_help_comes_at_once(module: str) -> None:
    absent = ["tensorflow", "apache_beam", "matplotlib", "sklearn", "tensorboard"]
    # Some flags' defaults in the pipeline's commands need numpy.
    absent += ["numpy"] if module.startswith("trainer") else []
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, module, *absent],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")
