"""`make mutants` makes the mutants that it says, and counts them rightly."""

import pathlib
import subprocess
from collections.abc import Sequence

import pytest

from tests import mutants
from tests.mutants import Mutant
from tests.workshop import ROOT, Workshop

_CODE = """\
def clip(x: int | None, low: float = 0.5, *, one: int = 3) -> int | None:
    return low if x < low else x
"""


def test_a_mutant_changes_one_place() -> None:
    changed = {one.text for one in mutants.make_mutants("a.py", _CODE)}
    for new in ("x <= low", "x >= low", "not x < low"):
        assert _CODE.replace("x < low", new) in changed
    assert _CODE.replace("0.5", "1.5") in changed
    assert _CODE.replace("3", "4") in changed
    assert not any("int & None" in text or "/," in text for text in changed)


def test_a_mutant_names_its_line() -> None:
    found = mutants.make_mutants("a.py", _CODE)
    boundary = next(one for one in found if "x <= low" in one.text)
    assert (boundary.path, boundary.line) == ("a.py", 2)
    assert boundary.old == "return low if x < low else x"
    assert boundary.new == "return low if x <= low else x"


def test_at_most_so_many_mutants_are_chosen_all_over_the_file() -> None:
    found = [Mutant("a.py", line, "", "", str(line)) for line in range(1, 101)]
    assert mutants.choose(found, 0) == found
    chosen = [one.line for one in mutants.choose(found, 10)]
    assert chosen == list(range(1, 101, 10))
    assert len(mutants.choose(found, 30)) <= 30


def test_the_page_gives_the_reason_of_an_equivalent_mutant() -> None:
    page = "### `a/b.py`\n\ntext\n\n- `x < 1` -> `x <= 1`: x is never 1\n"
    assert mutants.read_equivalent(page) == {
        ("a/b.py", "x < 1", "x <= 1"): "x is never 1"
    }


def test_the_page_lists_mutants_that_exist() -> None:
    listed = mutants.read_equivalent(mutants.PAGE.read_text(encoding="utf-8"))
    for path in {path for path, _, _ in listed}:
        text = (ROOT / path).read_text(encoding="utf-8")
        found = {(path, one.old, one.new) for one in mutants.make_mutants(path, text)}
        assert {key for key in listed if key[0] == path} <= found


@pytest.mark.parametrize("path", mutants.MODULES)
def test_a_file_has_mutants_and_tests(path: str) -> None:
    assert (ROOT / path).is_file()
    assert mutants.tests_of(path)


def test_a_changed_test_asks_for_a_new_verdict() -> None:
    mutant = Mutant("a.py", 1, "", "", "text")
    assert mutant.key("one") != mutant.key("two")
    assert mutant.key("one") != Mutant("a.py", 1, "", "", "other").key("one")


def test_the_table_counts_a_timeout_as_killed() -> None:
    verdicts = {"a.py": ["killed", "timeout", "survived", "killed"], "b.py": ["killed"]}
    assert mutants.table(verdicts).splitlines()[2:] == [
        "| `a.py` | 4 | 3 | 1 | 75.0% |",
        "| `b.py` | 1 | 1 | 0 | 100.0% |",
        "| all | 5 | 4 | 1 | 80.0% |",
    ]


def test_a_file_is_judged_alone_and_a_sample_as_a_whole() -> None:
    verdicts = {
        "a.py": ["killed"] * 8 + ["survived"] * 2,
        "b.py": ["killed"] * 9 + ["timeout", "survived"],
    }
    assert mutants.too_low(verdicts) == ["a.py"]
    assert mutants.too_low(verdicts, is_sample=True) == ["a.py", "b.py"]
    verdicts["b.py"] += ["killed"] * 9
    assert mutants.too_low(verdicts, is_sample=True) == []
    assert mutants.too_low({}, is_sample=True) == []


class _Tests(Workshop):
    """Tests that notice only a changed sign of minus."""

    def __init__(self) -> None:
        self.num_runs = 0

    def run(
        self,
        arguments: Sequence[str],
        timeout_secs: float,
        changed: tuple[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        assert changed is not None
        self.num_runs += 1
        sound = (ROOT / changed[0]).read_text(encoding="utf-8")
        noticed = changed[1].count("-") != sound.count("-")
        return subprocess.CompletedProcess((), int(noticed))


def test_known_verdicts_are_kept(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutants, "RESULTS", tmp_path / "results.jsonl")
    path = "trainer/optimization/losses.py"
    tests, known = _Tests(), dict[str, str]()
    verdicts = mutants.judge_file(path, 0, known, tests, 1)
    assert {"killed", "survived"} == set(verdicts)
    assert tests.num_runs == len(verdicts) == len(known)
    assert mutants.judge_file(path, 0, known, tests, 1) == verdicts
    assert tests.num_runs == len(verdicts)
    with mutants.RESULTS.open("a", encoding="utf-8") as results:
        results.write('["half a li')
    assert mutants.read_known() == known
