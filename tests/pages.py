"""The documents, and the commands in them."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]
PAGES = (
    "README.md",
    "WORKSPACE.md",
    "CONTRIBUTING.md",
    "deploy/README.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
)
# Commands within a sentence. A `python -m` without flags is only a module's name.
_INLINE = re.compile(r"make \w|pip install |python -m \S+ -")


def read(page: str) -> str:
    """Returns the text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def commands(page: str) -> list[str]:
    """Returns the commands of a page in order, from code blocks and inline code."""
    actual = []
    for language, block, span in re.findall(
        r"```(\w*)\n(.*?)```|(?<!`)`([^`]+)`(?!`)", read(page), re.DOTALL
    ):
        if language == "sh":
            actual += [line.split(" #")[0].strip() for line in block.splitlines()]
        elif _INLINE.match(line := " ".join(span.split())):
            actual.append(line)
    return actual
