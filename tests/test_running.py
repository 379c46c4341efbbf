"""Order of the test files, and the output of a test run."""

import os
import pathlib
import re
import subprocess
import sys

from tests import running, slowest

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent
CONFTEST = """
import pytest
import running

running.SECS = {"test_long.py": 100, "test_short.py": 50}
pytest_configure = pytest.hookimpl(trylast=True)(running.configure)
pytest_collection_modifyitems = running.sort
"""
FILES = {
    "test_any.py": "def test_one(): pass\n",
    "test_long.py": "import pytest\n\n\n"
    "def test_one(): pass\n\n\ndef test_two(): assert False\n\n\n"
    "def test_three(): pytest.skip('not here')\n",
    "test_short.py": "def test_one(): pass\n\n\ndef test_two(): pass\n",
}


def run(folder: pathlib.Path, *flags: str) -> str:
    """Returns pytest's output for `FILES`."""
    for name, text in {"conftest.py": CONFTEST, **FILES}.items():
        (folder / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 1, done.stdout
    return done.stdout


def test_long_files_are_tests() -> None:
    names = [path.name for path in HERE.rglob("test_*.py")]
    assert set(running.SECS) <= set(names)
    assert list(running.SECS.values()) == sorted(running.SECS.values(), reverse=True)


def test_long_files_come_first(tmp_path: pathlib.Path) -> None:
    shown = re.findall(r"^(test_\w+\.py) (\S+)", run(tmp_path), re.MULTILINE)
    assert shown == [
        ("test_long.py", ".Fs"),
        ("test_short.py", ".."),
        ("test_any.py", "."),
    ]


def test_a_file_that_workers_end_is_a_line(tmp_path: pathlib.Path) -> None:
    shown = run(tmp_path, "--numprocesses=2", "--dist=loadfile")
    lines = re.findall(r"^\[ *(\d+)%\] +\d+ s  (.*)$", shown, re.MULTILINE)
    assert sorted(line for _, line in lines) == [
        "test_any.py: 1 passed",
        "test_long.py: 1 passed, 1 failed, 1 skipped",
        "test_short.py: 2 passed",
    ]
    assert lines[-1][0] == "100"
    assert re.search(r"^failed: test_long.py::test_two$", shown, re.MULTILINE)
    assert not re.search(r"^[.Fs]+ ", shown, re.MULTILINE)


SHOWN = """
[  1%]    1 s  tests/test_one.py: 3 passed, 1 skipped
[ 50%]   15 s  tests/pipeline/sources/mnist/test_idx.py: 4 passed
[100%]  120 s  test_any.py: 1 passed, 1 failed
============================= slowest 20 durations =============================
9.51s call     tests/pipeline/sources/mnist/test_idx.py::test_one
120.04s setup    tests/test_any.py::test_two[a b|c]
0.31s teardown test_any.py::test_two[a b|c]
======================== 3 passed in 121.00s (0:02:01) =========================
"""


def test_the_slowest_tests_of_a_run_are_a_table() -> None:
    table = slowest.table_of(SHOWN.splitlines(keepends=True))
    assert table == slowest.HEAD + (
        "| 120 | setup | `test_any.py::test_two[a b|c]` |\n"
        "| 10 | call | `test_idx.py::test_one` |\n"
        "| 0 | teardown | `test_any.py::test_two[a b|c]` |\n"
    )
    page = f"Before.\n\n{slowest.HEAD}| 1 | call | `other` |\n\nAfter.\n"
    page = slowest.replaced(slowest._TABLE, page, table)
    assert page == f"Before.\n\n{table}\nAfter.\n"


def test_the_files_of_a_run_are_sorted_by_their_seconds() -> None:
    text = slowest.secs_of(SHOWN.splitlines(keepends=True))
    assert text == 'SECS = {\n    "test_any.py": 120,\n    "test_idx.py": 15,\n}\n'
    own = pathlib.Path(running.__file__).read_text(encoding="utf-8")
    changed = slowest.replaced(slowest._SECS, own, text)
    actual: dict[str, dict[str, int]] = {}
    exec(changed.split("def sort")[0], actual)
    assert actual["SECS"] == {"test_any.py": 120, "test_idx.py": 15}


def test_the_table_of_the_slowest_names_tests_in_their_order() -> None:
    rows = slowest.PAGE.read_text(encoding="utf-8").split(slowest.HEAD)[1]
    rows = re.findall(r"^\| (\d+) \| \w+ \| `(.+)` \|$", rows, re.MULTILINE)
    assert 0 < len(rows) <= 20
    secs = [int(secs) for secs, _ in rows]
    assert secs == sorted(secs, reverse=True)
    for _, name in rows:
        file, function = re.fullmatch(r"(\w+\.py)::(\w+)(?:\[.*\])?", name).groups()
        (path,) = HERE.rglob(file)
        assert f"def {function}(" in path.read_text(encoding="utf-8"), name


def test_what_is_slow_is_listed_with_its_reason() -> None:
    marked = {
        path.name
        for path in HERE.rglob("test_*.py")
        if "pytest.mark.slow" in path.read_text(encoding="utf-8")
        and path.name != pathlib.Path(__file__).name
    }
    text = slowest.PAGE.read_text(encoding="utf-8").split("## Tests\n")[1]
    listed = re.findall(
        r"^- `(test_\w+\.py)`[,:]", text.split("\n## ")[0], re.MULTILINE
    )
    assert sorted(listed) == sorted(marked)


def test_the_short_form_for_other_pythons_is_of_files_that_exist() -> None:
    text = (ROOT / ".ci/pythons").read_text(encoding="utf-8")
    (names,) = re.findall(r'^QUICK="([^"]+)"$', text, re.MULTILINE)
    for name in names.split():
        assert len(list(HERE.rglob(f"test_{name}.py"))) == 1, name


def test_a_room_without_tests_is_one_line() -> None:
    for target in ("test", "test-all"):
        done = subprocess.run(
            ["make", "--no-print-directory", target, "ROOM=kitchen"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 2
        (line,) = done.stdout.splitlines()
        rooms = line.removeprefix(
            "error: ROOM=kitchen must be one of the folders of tests/: "
        )
        assert {"pipeline", "pipeline/sources", "trainer"} <= set(rooms.split())
