"""The documents: their links, their tree, and the commands that they show."""

import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from pipeline import buckets, storage

ROOT = pathlib.Path(__file__).parents[1]
PAGES = (
    "README.md",
    "WORKSPACE.md",
    "deploy/README.md",
    "docs/data.md",
    "docs/latents.md",
    "docs/reliability.md",
    "docs/results.md",
    "docs/serving.md",
    "docs/tensorboard.md",
    "docs/training.md",
)


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def shell_lines(page: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", read(page), re.DOTALL)
    assert blocks
    return [
        line.split(" #")[0].strip() for block in blocks for line in block.splitlines()
    ]


COMMANDS = sorted(
    {
        line
        for page in PAGES
        for line in shell_lines(page)
        if line.startswith("python -m")
    }
)


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", read(page)):
        assert (ROOT / page).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    shown = {
        shlex.split(line)[1] for line in shell_lines(page) if line.startswith("make ")
    }
    assert shown <= targets


def test_the_tree_is_the_tree() -> None:
    block = read("WORKSPACE.md").split("```")[1]
    folder, named = "", set()
    for line in block.strip().splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            folder = name if name.endswith("/") else ""
            named.add(name)
        else:
            named.add(folder + name)
    for name in named:
        assert (ROOT / name).exists(), f"{name} is in the tree of WORKSPACE.md"
    for package in ("pipeline", "trainer", "configs"):
        for path in (ROOT / package).glob("*.py"):
            if path.name != "__init__.py":
                assert f"{package}/{path.name}" in named, "missing in WORKSPACE.md"


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_take_the_flags_they_are_shown_with(command: str) -> None:
    module, *arguments = shlex.split(command)[2:]
    parse = "argv = flags.FLAGS(sys.argv)"
    if module in ("pipeline.prepare", "pipeline.encode"):
        # Beam's own flags pass through.
        parse = "from pipeline import runners; argv = runners.parse_flags(sys.argv)"
    if module == "trainer.launch":
        # All but its own flags are those of trainer.train.
        parse = "import trainer.train; argv = flags.FLAGS(sys.argv)"
    program = f"import sys, {module}; from absl import flags; {parse}; print(argv)"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-500:]
    for argument in arguments:
        flag, _, value = argument.partition("=")
        if flag in ("--input", "--output", "--dataset") and storage.is_url(value):
            assert value.partition("://")[0] in buckets._STORES


def test_extras_that_are_shown_exist() -> None:
    texts = [read(page) for page in PAGES]
    texts += [f"vaeline[{extra}]" for _, extra in buckets._STORES.values()]
    shown = set(re.findall(r"vaeline\[(\w+)\]", " ".join(texts)))
    defined = set(re.findall(r'^    "(\w+)": \[', read("setup.py"), re.MULTILINE))
    assert {"aws", "gcp"} <= shown <= defined
