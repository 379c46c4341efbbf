"""Writes the slowest tests into CONTRIBUTING.md, and slow files into running.py.

make test-all ARGS=--durations=20 | python -m tests.slowest
"""

import pathlib
import re
import sys
from collections.abc import Iterable

from tests import running
from tests.pages import ROOT

PAGE = ROOT / "CONTRIBUTING.md"
# Minimum seconds of a file in `running.SECS`; a faster file may run last.
MIN_SECS = 15
HEAD = "| seconds | phase | test |\n|--:|---|---|\n"
# A file's name identifies it: no two test files have the same name.
_LINE = re.compile(r"^(\d+\.\d+)s (call|setup|teardown) +(?:\S*/)?(test_\S+\.py::.+)$")
_FILE = re.compile(r"^\[ *\d+%\] +(\d+) s  (?:\S*/)?(test_\w+\.py): ")
_TABLE = re.compile(re.escape(HEAD) + r"(?:\|.*\n)*")
_SECS = re.compile(r"^SECS = \{\n(?: .*\n)*\}\n", re.MULTILINE)


def table_of(lines: Iterable[str]) -> str:
    """Returns a table of the tests that pytest's `--durations` lists in `lines`."""
    actual = [match.groups() for line in lines if (match := _LINE.match(line.rstrip()))]
    rows = sorted(((float(secs), *rest) for secs, *rest in actual), reverse=True)
    return HEAD + "".join(
        f"| {secs:.0f} | {phase} | `{name}` |\n" for secs, phase, name in rows
    )


def secs_of(lines: Iterable[str]) -> str:
    """Returns the source of `running.SECS`, made from the lines of `running.Lines`."""
    actual = [match.groups() for line in lines if (match := _FILE.match(line))]
    rows = sorted(((-int(secs), name) for secs, name in actual))
    rows = [(-secs, name) for secs, name in rows if -secs >= MIN_SECS]
    return "".join(["SECS = {\n", *(f'    "{n}": {s},\n' for s, n in rows), "}\n"])


def replaced(pattern: re.Pattern[str], text: str, part: str) -> str:
    """Returns a text with `part` in place of the pattern's only match."""
    new, num = pattern.subn(lambda _: part, text)
    assert num == 1, pattern.pattern
    return new


def main() -> None:
    """Shows the output of a whole run, and writes its durations into both files."""
    lines = []
    for line in sys.stdin:
        print(line, end="", flush=True)
        lines.append(line)
    table = table_of(lines)
    if table == HEAD:
        sys.exit("error: no line of --durations=20 among the input")
    for path, pattern, part in (
        (PAGE, _TABLE, table),
        (pathlib.Path(running.__file__), _SECS, secs_of(lines)),
    ):
        text = replaced(pattern, path.read_text(encoding="utf-8"), part)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
