"""Links and tree of the documents; test_docs_commands.py tests their commands."""

import ast
import pathlib
import re

import pytest

from pipeline.storage import buckets
from tests.pages import PAGES, ROOT, read


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", read(page)):
        assert (ROOT / page).parent.joinpath(target).exists(), target


# A link to a test: its file, and the name of its function as the title.
PROMISES = re.findall(r"\]\((tests/[^)\s]+)(?: \"(\w+)\")?\)", read("README.md"))


@pytest.mark.parametrize(("path", "name"), dict.fromkeys(PROMISES))
def test_a_promise_has_a_test_that_ci_runs(path: str, name: str) -> None:
    module = ast.parse(read(path))
    functions = [node for node in module.body if getattr(node, "name", "") == name]
    assert len(functions) == 1, f"{path} has no {name}"
    marks = [ast.unparse(mark) for mark in functions[0].decorator_list]
    marks += re.findall(r"^pytestmark = .*", read(path), re.MULTILINE)
    assert not re.search(r"mark\.perf|only_full=True", " ".join(marks))


@pytest.mark.parametrize("head", ["| promise | proof |", "| command | what it does |"])
def test_every_row_of_the_readme_links_to_a_test(head: str) -> None:
    _, row, *rows = read("README.md").split(head)[1].split("\n\n")[0].splitlines()
    assert set(row) <= set("|-")
    assert len(rows) >= 5
    for row in rows:
        assert re.search(r"\]\(tests/\S+\.py \"test_\w+\"\)", row), row


def test_the_map_names_every_room_and_command() -> None:
    block = read("WORKSPACE.md").split("```")[1]
    folder, named = "", set()
    for line in block.strip().splitlines():
        names = line.strip().split("  ")[0].split()
        if not line.startswith(" "):
            folder = names[0] if names[0].endswith("/") else ""
            named.add(names[0])
        else:
            named |= {folder + name for name in names}
    for name in named:
        assert (ROOT / name).exists(), f"{name} is on the map of WORKSPACE.md"
    for package in ("pipeline", "trainer"):
        for path in entries(ROOT / package):
            name = f"{package}/{path.name}" + "/" * path.is_dir()
            assert name in named, "missing on the map of WORKSPACE.md"
    assert len(read("WORKSPACE.md").splitlines()) < 150


ROOMS = sorted(
    path.parent
    for package in ("pipeline", "trainer")
    for path in (ROOT / package).rglob("__init__.py")
)


def entries(room: pathlib.Path) -> list[pathlib.Path]:
    """Returns the Python files and subfolders (rooms) of a room."""
    return [
        path
        for path in sorted(room.iterdir())
        if (path.suffix == ".py" and path.name != "__init__.py")
        or (path / "__init__.py").exists()
    ]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(ROOT)))
def test_a_room_names_its_files(room: pathlib.Path) -> None:
    docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
    named = re.findall(r"^(\w+)  +\S", docstring, re.MULTILINE)
    actual = [path.stem for path in entries(room)]
    if room.parent == ROOT:  # WORKSPACE.md lists its subfolders.
        actual = [path.stem for path in entries(room) if path.is_file()]
    assert sorted(named) == actual


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(ROOT)))
def test_a_room_is_small(room: pathlib.Path) -> None:
    limit = 26 if room.parent == ROOT else 15
    assert len(entries(room)) <= limit


def test_no_text_installs_a_package_of_our_name_from_an_index() -> None:
    """Somebody else may publish a package of this name."""
    code = [
        path for room in ("pipeline", "trainer") for path in (ROOT / room).rglob("*.py")
    ]
    for path in [*code, *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        assert not re.search(r"pip install '?vaeline", path.read_text("utf-8")), path


def test_extras_that_are_shown_exist() -> None:
    texts = [read(page) for page in PAGES]
    texts += [f"'.[{extra}]'" for _, extra in buckets._STORES.values()]
    shown = set(re.findall(r"'\.\[(\w+)\]", " ".join(texts)))
    defined = set(re.findall(r'^    "(\w+)": \[', read("setup.py"), re.MULTILINE))
    assert {"aws", "gcp", "gpu"} <= shown <= defined
