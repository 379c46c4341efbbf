"""Values that rooms pass to each other never change."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FILES = [
    str(path.relative_to(ROOT))
    for package in ("pipeline", "trainer")
    for path in sorted((ROOT / package).rglob("*.py"))
]


@pytest.mark.parametrize("name", FILES)
def test_dataclasses_are_frozen(name: str) -> None:
    for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            for decorator in map(ast.unparse, node.decorator_list):
                if "dataclass" in decorator:
                    assert "frozen=True" in decorator, f"{node.name} can change"
