"""The table of docs/reliability.md, which `make chaos` fills with its observations."""

import importlib
import os
import pathlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests import preloaded

# Modules of the suite, in the order of the table.
MODULES = ("test_kills", "test_published_size", "test_damage", "test_workdirs")
MODULES += ("test_clock", "test_peers", "test_links")
MODULES += ("test_power", "test_prepare_kills", "test_sources")
PAGE = pathlib.Path(__file__).parents[2] / "docs/reliability.md"
# `make chaos` sets CHAOS=full. Otherwise only the faster scenarios run, with fewer
# kills.
IS_FULL = os.environ.get("CHAOS") == "full"
# Reason of the other scenarios' skip, as CONTRIBUTING.md lists it.
ONLY_FULL = "make chaos runs it"

_BEGIN, _END = "<!-- written by make chaos -->\n", "<!-- end -->"
_HEAD = "| what is done | what happens | what is lost | message |\n|---|---|---|---|\n"

Cells = tuple[str, str, str]


def scenario(done: str, only_full: bool = False) -> Callable[[Any], Any]:
    """Returns a decorator that adds a test to the suite.

    Args:
        done: First cell of the row: the fault that the test causes.
        only_full: Whether only `make chaos` runs the test and CI skips it.
    """

    def mark(test: Any) -> Any:
        test.scenario = done
        if only_full:
            test = pytest.mark.skipif(not IS_FULL, reason=ONLY_FULL)(test)
        return pytest.mark.chaos(test)

    return mark


def scenarios() -> list[str]:
    """Returns the fault of each scenario, in the order of the table."""
    modules = [importlib.import_module(f"tests.chaos.{name}") for name in MODULES]
    tests = [test for module in modules for test in vars(module).values()]
    return [test.scenario for test in tests if hasattr(test, "scenario")]


def python_to_kill() -> str:
    """Returns the Python program to kill: a real interpreter in the full form."""
    return sys.executable if IS_FULL else preloaded.shared_python()


def rows_of(text: str) -> dict[str, Cells]:
    """Returns the rows of a page's table, keyed by their first cell."""
    table = text[text.index(_BEGIN) + len(_BEGIN) : text.index(_END)]
    cells = [line.strip("|").split("|") for line in table.splitlines()[2:]]
    return {
        done.strip(): (happens.strip(), lost.strip(), message.strip())
        for done, happens, lost, message in cells
    }


def with_rows(text: str, rows: dict[str, Cells], order: Sequence[str]) -> str:
    """Returns the page with `rows` as its table, sorted and filtered by `order`."""
    lines = [
        f"| {' | '.join([done, *rows[done]])} |\n" for done in order if done in rows
    ]
    head, tail = text[: text.index(_BEGIN)], text[text.index(_END) :]
    return f"{head}{_BEGIN}{_HEAD}{''.join(lines)}{tail}"


def write_row(done: str, cells: Cells) -> None:
    """Adds a row to the page or replaces the row of the same scenario."""
    text = PAGE.read_text(encoding="utf-8")
    rows = {**rows_of(text), done: cells}
    PAGE.write_text(with_rows(text, rows, scenarios()), encoding="utf-8")


def shown(message: str, names: dict[str, object]) -> str:
    """Returns a message as the table shows it, with names in place of paths."""
    for name, value in names.items():
        message = message.replace(str(value), name)
    message = re.sub(r"127\.0\.0\.1:\d+", "HOST:PORT", message)
    return f"`{message.replace('|', '/')}`"
