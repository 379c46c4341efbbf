"""The documents: their links and their tree; test_docs_commands.py has the commands."""

import re

import pytest

from pipeline.storage import buckets
from tests.pages import PAGES, ROOT, read


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", read(page)):
        assert (ROOT / page).parent.joinpath(target).exists(), target


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


def test_extras_that_are_shown_exist() -> None:
    texts = [read(page) for page in PAGES]
    texts += [f"vaeline[{extra}]" for _, extra in buckets._STORES.values()]
    shown = set(re.findall(r"(?:vaeline|'\.)\[(\w+)\]", " ".join(texts)))
    defined = set(re.findall(r'^    "(\w+)": \[', read("setup.py"), re.MULTILINE))
    assert {"aws", "gcp", "gpu"} <= shown <= defined
